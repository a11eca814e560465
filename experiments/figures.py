"""The figures of one run, with what to look for in each."""

import re

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
    plot_image_blocks,
    plot_informative,
    plot_latent_history,
    plot_latent_path,
    plot_rate_distortion,
    plot_reconstructions,
    plot_traversals,
)

from .assemble import Parts
from .codes import readings
from .evaluation import Evaluation
from .findings import of_rows, told_names
from .report import ReportFigure
from .selecting import Selected

__all__ = ["figures_of_run", "figures_of_selection", "labels_named", "named", "samples_by_label"]

MOST = 24  # latents of one code that a figure redraws
COLUMNS = 12  # codes drawn under each label


def figures_of_run(history: xr.Dataset, evaluation: Evaluation) -> list[ReportFigure]:
    """Reconstructions, p and KL over epochs, traversals, latents judged four ways, covariances, rate and distortion."""
    return [
        *([] if of_rows(evaluation) else _pictures(evaluation)),
        *_probabilities(history),
        *(_informative(evaluation, site) for site in evaluation.traversals),
        *(_kl_of_latents(history, name) for name in history.data_vars if _is_shown(history[name], evaluation)),
        *_covariances(evaluation),
        ReportFigure(
            "rate_distortion",
            "Rate KL(q ‖ p) and distortion −log p(x | z), epoch means in nats per image. A density's distortion may be "
            "negative. Dashed: of the images held apart for validation, by the pair as it is evaluated. Where the axis "
            "says so it is logarithmic above the value named.",
            plot_rate_distortion(history),
            "Rate and distortion over training",
        ),
    ]


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
    return [
        ReportFigure(
            "reconstructions",
            "Training images above, the mean of p(x | z) at the posterior mean of every latent site below, with the "
            "root mean squared error of each. Position, size, colour and shape should all survive.",
            plot_reconstructions(observed, redrawn.isel(image=slice(10))),
        )
    ]


def _traversal(evaluation: Evaluation, site: str) -> ReportFigure:
    traversal = evaluation.traversals[site]
    name, title = named("traversals", "Traversals", site, evaluation)
    caption = (
        "One image redrawn while one latent moves over the range of its codes; latents sorted by their KL"
        f"{', with the factor that each tells most of' if 'factor' in evaluation.latents[site] else ''}. "
        "A row in which nothing changes is a latent the decoder does not use."
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
    return ReportFigure(name, caption, plot_traversals(shown), title)


def _probabilities(history: xr.Dataset) -> list[ReportFigure]:
    if "p" not in history:
        return []
    return [
        ReportFigure(
            "probabilities",
            "p is the guide's probability that a latent is uninformative. The paper reads p < ½ as informative; "
            "compare with the next figure before believing it.",
            plot_latent_history(history, "p"),
            "Probability of being uninformative over training",
        )
    ]


def _informative(evaluation: Evaluation, site: str) -> ReportFigure:
    name, title = named("informative", "Which latents are informative?", site, evaluation)
    return ReportFigure(
        name,
        "Each latent judged four ways: by p, by its posterior variance (E[1/λ]) over the prior's, by its KL, and "
        "by how much the squared error rises when it is replaced by its mean. Of feature maps each is one latent.",
        plot_informative(evaluation.latents[site]),
        title,
    )


def _is_shown(array: xr.DataArray, evaluation: Evaluation) -> bool:
    """Whether it is a KL over training that splits by latent, of a code that is shown."""
    if array.ndim < 2 or not (array.name == "kl" or str(array.name).startswith("kl_")):
        return False
    site = str(array.name).removeprefix("kl_")
    return site in evaluation.traversals or site not in evaluation.latents


def _kl_of_latents(history: xr.Dataset, name: str) -> ReportFigure:
    site = name.removeprefix("kl").removeprefix("_")
    caption = "Mean KL of each latent over training, nats per image."
    title = "KL of each latent over training" + (f": {site}" if site else "")
    return ReportFigure(re.sub("[^A-Za-z0-9_-]", "_", name), caption, plot_latent_history(history, name), title)


def _covariances(evaluation: Evaluation) -> list[ReportFigure]:
    codes = readings(evaluation.tree)
    varying = {f"{name} latents": scaled_covariance(code) for name, code in codes.items() if _varies(code)}
    if not varying:
        return []
    return [
        ReportFigure(
            "covariances",
            "Scaled covariance of the latents over the images (the paper's Fig. 4), of one draw from q(z | x) for each "
            "image and of the posterior means. Bright off the diagonal: correlated latents.",
            plot_covariances(varying),
        )
    ]


def _varies(code: xr.DataArray) -> bool:
    """Whether any latent does: the means of a collapsed pair have no covariance to draw."""
    return bool((code != code.isel(image=0)).any())
