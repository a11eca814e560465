"""Figures of a training: what its numbers did over the epochs."""

import re

import xarray as xr

from ppvae.nouns import IMAGE, Noun
from ppvae.plots import plot_elbo, plot_latent_history, plot_rate_distortion
from ppvae.plots.labels import number

from .report import ReportFigure

__all__ = ["elbo_figure", "kl_figure", "probabilities_figure", "terms_figure"]

LEAST_KL = 0.1  # nats above which a latent counts as informative


def elbo_figure(history: xr.Dataset, noun: Noun = IMAGE) -> ReportFigure:
    """The ELBO over training, and whether it went on being learnt what holds for others."""
    bound = history["elbo"] if "elbo" in history else -(history["rate"] + history["distortion"])
    epochs, last = history.sizes["epoch"], float(bound[-1])
    seen = f"Training ends at {number(last, 4)} nats per {noun} after {epochs} epochs"
    if "validation_elbo" in history:
        held = history["validation_elbo"]
        best = int(held.argmax("epoch")) + 1 if held.notnull().any() else 0
        seen += f", validation at {number(float(held[-1]), 4)}, its best in epoch {best}"
        if best and best < epochs - 1 and last > float(held[-1]):
            seen += f": later epochs learn the training {noun.many} by heart"
    caption = f"{seen}. Training is the mean over an epoch's steps, validation the pair at the epoch's end."
    alt = f"{'Two curves' if 'validation_elbo' in history else 'A curve'} over epochs. {seen}."
    return ReportFigure("elbo", caption, plot_elbo(history), "ELBO over training", alt)


def terms_figure(history: xr.Dataset, noun: Noun = IMAGE, more: str = "") -> ReportFigure:
    """Rate and distortion over training; ``more``: what else is to be known of them."""
    rate, distortion = (history[name] for name in ("rate", "distortion"))
    seen = f"The rate goes from {number(float(rate[0]))} to {number(float(rate[-1]))}, the distortion from "
    seen += f"{number(float(distortion[0]))} to {number(float(distortion[-1]))} nats per {noun}"
    caption = f"{seen}: KL(q ‖ p) and −log p(x | z), epoch means."
    caption += " A density's distortion may be negative." if float(distortion.min()) < 0 else ""
    caption += f" Dashed: of validation {noun.many}." if "validation_rate" in history else ""
    caption += f" {more}" if more else ""
    title = "Rate and distortion over training"
    return ReportFigure("rate_distortion", caption, plot_rate_distortion(history), title, f"Two panels. {seen}.")


def probabilities_figure(history: xr.Dataset) -> ReportFigure:
    """p of each latent, of a history that has it."""
    last = history["p"].isel(epoch=-1)
    below = int((last < 0.5).sum())
    seen = f"{below} of {last.size} latents end below one half"
    caption = f"{seen}, which the paper reads as informative; p is the guide's probability that a latent is not. "
    caption += "Compare with the counts by KL and by ablation before believing it."
    title, drawn = "Probability of being uninformative over training", plot_latent_history(history, "p")
    alt = f"A line a latent, from {float(last.min()):.2g} to {float(last.max()):.2g} at the end: {seen}."
    return ReportFigure("probabilities", caption, drawn, title, alt)


def kl_figure(history: xr.Dataset, name: str, noun: Noun = IMAGE) -> ReportFigure:
    """The KL of each latent of a code, the variable ``name`` (epoch, latent, …) of the history."""
    site = name.removeprefix("kl").removeprefix("_")
    values = history[name]
    last = values.isel(epoch=-1).sum([dim for dim in values.dims if dim not in ("epoch", values.dims[1])])
    seen = f"At the end {int((last > LEAST_KL).sum())} of {last.size} cost more than {LEAST_KL:g} nats, the dearest "
    seen += number(float(last.max()))
    caption = f"{seen}. Mean KL of each latent, nats per {noun}."
    title = "KL of each latent over training" + (f": {site}" if site else "")
    figure = plot_latent_history(history, name)
    return ReportFigure(re.sub("[^A-Za-z0-9_-]", "_", name), caption, figure, title, f"A line a latent. {seen}.")
