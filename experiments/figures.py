"""The figures of one run, with what to look for in each."""

import re

import numpy as np
import torch
import xarray as xr
from torch import nn

from ppvae.interventions import draw_given
from ppvae.interventions.held import images_of
from ppvae.metrics import scaled_covariance
from ppvae.models import ConditionalVAE, SemiSupervisedVAE
from ppvae.networks import LabelCondition
from ppvae.plots import (
    plot_confusion,
    plot_covariances,
    plot_elbo,
    plot_image_blocks,
    plot_informative,
    plot_latent_history,
    plot_latent_path,
    plot_rate_distortion,
    plot_reconstructions,
    plot_traversals,
)
from ppvae.plots.labels import number

from .assemble import Parts
from .codes import readings
from .evaluation import Evaluation
from .findings import of_rows, told_names
from .report import ReportFigure
from .selecting import Selected

__all__ = ["figures_of_run", "figures_of_selection", "labels_named", "named", "samples_by_label", "tones"]

MOST = 24  # latents of one code that a figure redraws
COLUMNS = 12  # codes drawn under each label
JUDGED = {
    "by_probability": "p",
    "by_variance": "posterior variance",
    "by_kl": "KL",
    "by_ablation": "ablation",
    "by_relevance": "relevance",
}
LEAST_KL = 0.1  # nats above which a latent counts as informative
STILL = 0.01  # change of a pixel that nobody sees


def figures_of_run(history: xr.Dataset, evaluation: Evaluation) -> list[ReportFigure]:
    """Reconstructions, traversals, ELBO, p and KL over epochs, latents judged four ways, covariances, the two terms."""
    return [
        *([] if of_rows(evaluation) else _pictures(evaluation)),
        _elbo(history),
        *_probabilities(history),
        *(_informative(evaluation, site) for site in evaluation.traversals),
        *(_kl_of_latents(history, name) for name in history.data_vars if _is_shown(history[name], evaluation)),
        *_covariances(evaluation),
        _rate_distortion(history),
    ]


def _elbo(history: xr.Dataset) -> ReportFigure:
    bound = history["elbo"] if "elbo" in history else -(history["rate"] + history["distortion"])
    epochs, last = history.sizes["epoch"], float(bound[-1])
    seen = f"Training ends at {number(last, 4)} nats per image after {epochs} epochs"
    if "validation_elbo" in history:
        held = history["validation_elbo"]
        best = int(held.argmax("epoch")) + 1 if held.notnull().any() else 0
        seen += f", validation at {number(float(held[-1]), 4)}, its best in epoch {best}"
        if best and best < epochs - 1:
            seen += ": later epochs learn the training images by heart"
    caption = f"{seen}. Training is the mean over an epoch's steps, validation the pair at the epoch's end."
    return ReportFigure("elbo", caption, plot_elbo(history), "ELBO over training", f"Curves over epochs. {seen}.")


def _rate_distortion(history: xr.Dataset) -> ReportFigure:
    rate, distortion = (history[name] for name in ("rate", "distortion"))
    seen = f"The rate goes from {number(float(rate[0]))} to {number(float(rate[-1]))}, the distortion from "
    seen += f"{number(float(distortion[0]))} to {number(float(distortion[-1]))} nats per image"
    caption = f"{seen}: KL(q ‖ p) and −log p(x | z), epoch means."
    caption += " A density's distortion may be negative." if float(distortion.min()) < 0 else ""
    caption += " Dashed: of validation images." if "validation_rate" in history else ""
    title = "Rate and distortion over training"
    return ReportFigure("rate_distortion", caption, plot_rate_distortion(history), title, f"Two panels. {seen}.")


def tones(images: xr.DataArray) -> str:
    """How light images are and how much they differ, for those who do not see them."""
    mean, differ = float(images.mean()), float(images.std(images.dims[0]).mean())
    light = "dark" if mean < 1 / 3 else "light" if mean > 2 / 3 else "of middle tones"
    return f"They are {light} and differ from each other by {differ:.2g} a pixel."


def figures_of_selection(chosen: Selected | None) -> list[ReportFigure]:
    """The path that a selection followed; nothing without one."""
    if chosen is None:
        return []
    kept = ", ".join(f"z{number}" for number in chosen.kept)
    caption = (
        f"{chosen.said()}. Each level goes on from the one left of it. Kept, and from here on numbered anew: {kept}."
    )
    return [ReportFigure("path", caption, plot_latent_path(chosen.path, chosen.plateau), "Where latents enter")]


def named(figure: str, words: str, site: str, evaluation: Evaluation) -> tuple[str, str]:
    """A figure's file name and title, with the code that it is of where there are several."""
    if len(evaluation.latents) == 1:
        return figure, words
    return f"{figure}_{re.sub('[^A-Za-z0-9_-]', '_', site)}", f"{words}: {site}"


def samples_by_label(parts: Parts, seed: int, name: str = "samples_by_label") -> list[ReportFigure]:
    """Images drawn under each label, one code a column; nothing for a model that has none."""
    labels = _labels(parts.model)
    if labels is None:
        return []
    drawn = draw_given(parts.model, torch.arange(labels), COLUMNS, seed=seed)
    drawn = drawn.rename(given="z_local", draw="z_global")
    (given,) = (name.removeprefix("known_") for name in parts.data.inputs)
    caption = (
        f"Drawn by the model: a row for each {given}, the first at the top, a column for each code drawn from the "
        "prior. A row should keep what the label says, a column all else, such as slant and thickness."
    )
    figure = plot_image_blocks({"": drawn}, per_line=1, varied=("z", given))
    return [ReportFigure(name, caption, figure, f"Samples by {given}")]


def labels_named(evaluation: Evaluation) -> list[ReportFigure]:
    """What the classifier calls test images of each label; nothing of a pair without one, or without labels."""
    found = evaluation.labels
    if found is None or not found["counts"].any():
        return []
    images = int(found["counts"].sum())
    caption = (
        f"Labels of {images} images that no training saw, a row each, and what the classifier calls them, a column "
        "each: numbers of images, in per cent of the row. Off the diagonal: mistakes."
    )
    return [ReportFigure("labels", caption, plot_confusion(found), "Labels and what the classifier calls them")]


def _labels(model: nn.Module) -> int | None:
    """How many labels a model draws images under."""
    if isinstance(model, SemiSupervisedVAE):
        return model.levels
    if isinstance(model, ConditionalVAE) and isinstance(model.condition, LabelCondition):
        return model.condition.levels
    return None


def _pictures(evaluation: Evaluation) -> list[ReportFigure]:
    return [*_reconstructions(evaluation), *(_traversal(evaluation, site) for site in evaluation.traversals)]


def _reconstructions(evaluation: Evaluation) -> list[ReportFigure]:
    """None where p(x | z) has no mean: draws are no reconstruction, and are shown as what they are."""
    observed, redrawn = images_of(evaluation.tree).isel(image=slice(10)), evaluation.reconstructions
    if redrawn.attrs["shown"] == "draws":
        return []
    few = redrawn.isel(image=slice(10))
    dims = [dim for dim in few.dims if dim != "image"]
    errors, spread = ((observed - few) ** 2).mean(dims) ** 0.5, float(observed.std("image").mean())
    seen = (
        f"The error of a pixel is {float(errors.min()):.2g} to {float(errors.max()):.2g} (RMSE), where images differ "
    )
    seen += f"from each other by {spread:.2g}"
    caption = f"Training images above, the mean of p(x | z) at the posterior mean of all latents below. {seen}."
    alt = f"{few.sizes['image']} images and below each its reconstruction. {seen}. {tones(few)}"
    return [ReportFigure("reconstructions", caption, plot_reconstructions(observed, few), "", alt)]


def _traversal(evaluation: Evaluation, site: str) -> ReportFigure:
    traversal = evaluation.traversals[site]
    name, title = named("traversals", "Traversals", site, evaluation)
    caption = (
        "One image redrawn while one latent moves over the range of its codes; latents sorted by their KL"
        f"{', with the factor that each tells most of' if 'factor' in evaluation.latents[site] else ''}. "
        f"A row in which nothing changes is a latent the decoder does not use; {_moving(traversal)}."
    )
    if traversal.attrs["dependent"]:
        caption += f" What depends on it, {', '.join(traversal.attrs['dependent'])}, is drawn anew, of one noise."
    if traversal.attrs["shown"] == "draws":
        caption += " Draws of p(x | z), all with the same noise, as it has no mean."
    if traversal.sizes["latent"] > MOST:
        caption += f" The first {MOST} of {traversal.sizes['latent']}."
    latents, shown = evaluation.latents[site], traversal.isel(latent=slice(MOST))
    names = dict(zip(latents["latent"].values.tolist(), told_names(latents, site), strict=True))
    shown = shown.assign_coords(latent=[names[number] for number in shown["latent"].values.tolist()])
    alt = f"{shown.sizes['latent']} rows of {shown.sizes['step']} images; {_moving(shown)}."
    return ReportFigure(name, caption, plot_traversals(shown), title, alt)


def _moving(traversal: xr.DataArray) -> str:
    """How many rows change, and which most."""
    ends = abs(traversal.isel(step=-1) - traversal.isel(step=0)).mean(["channel", "row", "column"])
    moving, most = int((ends > STILL).sum()), traversal["latent"].values[int(ends.argmax("latent"))]
    many = f"{moving} of {ends.size} rows change by more than {STILL:g} a pixel between their ends"
    named = most if isinstance(most, str) else f"latent {most}"
    return f"{many}, {named} the most, by {float(ends.max()):.2g}"


def _probabilities(history: xr.Dataset) -> list[ReportFigure]:
    if "p" not in history:
        return []
    last = history["p"].isel(epoch=-1)
    below = int((last < 0.5).sum())
    seen = f"{below} of {last.size} latents end below one half"
    caption = f"{seen}, which the paper reads as informative; p is the guide's probability that a latent is not. "
    caption += "Compare with the figure of the latents judged before believing it."
    title = "Probability of being uninformative over training"
    return [
        ReportFigure("probabilities", caption, plot_latent_history(history, "p"), title, f"A line a latent: {seen}.")
    ]


def _informative(evaluation: Evaluation, site: str) -> ReportFigure:
    name, title = named("informative", "Which latents are informative?", site, evaluation)
    latents = evaluation.latents[site]
    rules = {rule: words for rule, words in JUDGED.items() if rule in latents}
    seen = ", ".join(f"{int(latents[rule].sum())} by {words}" for rule, words in rules.items())
    seen = f"Of {latents.sizes['latent']} latents are counted {seen}"
    caption = f"{seen}: a panel a rule, with the number behind it. Of feature maps each is one latent."
    return ReportFigure(name, caption, plot_informative(latents), title, f"Dots, full where a latent counts. {seen}.")


def _is_shown(array: xr.DataArray, evaluation: Evaluation) -> bool:
    """Whether it is a KL over training that splits by latent, of a code that is shown."""
    if array.ndim < 2 or not (array.name == "kl" or str(array.name).startswith("kl_")):
        return False
    site = str(array.name).removeprefix("kl_")
    return site in evaluation.traversals or site not in evaluation.latents


def _kl_of_latents(history: xr.Dataset, name: str) -> ReportFigure:
    site = name.removeprefix("kl").removeprefix("_")
    values = history[name]
    last = values.isel(epoch=-1).sum([dim for dim in values.dims if dim not in ("epoch", values.dims[1])])
    seen = f"At the end {int((last > LEAST_KL).sum())} of {last.size} cost more than {LEAST_KL:g} nats, the dearest "
    seen += number(float(last.max()))
    caption = f"{seen}. Mean KL of each latent, nats per image."
    title = "KL of each latent over training" + (f": {site}" if site else "")
    figure = plot_latent_history(history, name)
    return ReportFigure(re.sub("[^A-Za-z0-9_-]", "_", name), caption, figure, title, f"A line a latent. {seen}.")


def _covariances(evaluation: Evaluation) -> list[ReportFigure]:
    codes = readings(evaluation.tree)
    varying = {f"{name} latents": scaled_covariance(code) for name, code in codes.items() if _varies(code)}
    if not varying:
        return []
    seen = "; ".join(
        f"{name}: the largest off the diagonal is {_off_diagonal(matrix):.2f}" for name, matrix in varying.items()
    )
    caption = (
        f"Scaled covariance of the latents over the images, the largest entry 1. {seen[0].upper()}{seen[1:]}. Bright"
        " off the diagonal: correlated latents."
    )
    return [
        ReportFigure("covariances", caption, plot_covariances(varying), "", f"Heat maps of latents by latents. {seen}.")
    ]


def _off_diagonal(matrix: xr.DataArray) -> float:
    """The largest entry beside the diagonal, of the largest of all."""
    size = abs(matrix.values)
    beside = size[~np.eye(len(size), dtype=bool)]
    return float(beside.max(initial=0) / max(size.max(), 1e-12))


def _varies(code: xr.DataArray) -> bool:
    """Whether any latent does: the means of a collapsed pair have no covariance to draw."""
    return bool((code != code.isel(image=0)).any())
