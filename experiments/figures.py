"""The figures of one run, with what to look for in each."""

import re
from collections.abc import Mapping

import numpy as np
import xarray as xr

from ppvae.diagnostics.contents import event_dims_of, noun_in
from ppvae.interventions.held import images_of
from ppvae.metrics import scaled_covariance
from ppvae.nouns import ROW
from ppvae.plots import (
    plot_covariances,
    plot_informative,
    plot_latent_path,
    plot_reconstructions,
    plot_traversals,
)
from ppvae.plots.labels import latent_names

from .codes import readings
from .evaluation import Evaluation
from .findings import told_names
from .history_figures import elbo_figure, kl_figure, probabilities_figure, terms_figure
from .report import ReportFigure
from .seen import differ, sentence, shown, tones
from .selecting import Selected

__all__ = [
    "figures_of_run",
    "figures_of_selection",
    "moving",
    "named",
    "off_diagonal",
    "path_figure",
    "reconstructions_figure",
]

MOST = 24  # latents of one code that a figure redraws
JUDGED = {
    "by_probability": "p",
    "by_variance": "posterior variance",
    "by_kl": "KL",
    "by_ablation": "ablation",
    "by_relevance": "relevance",
}
STILL = 0.01  # change of a pixel that nobody sees


def figures_of_run(history: xr.Dataset, evaluation: Evaluation) -> list[ReportFigure]:
    """Reconstructions, traversals, ELBO, p and KL over epochs, latents judged four ways, covariances, the two terms."""
    noun = noun_in(evaluation.tree)
    return [
        *([] if noun == ROW else _pictures(evaluation)),
        elbo_figure(history, noun),
        *([probabilities_figure(history)] if "p" in history else []),
        *(_informative(evaluation, site) for site in evaluation.traversals),
        *(kl_figure(history, str(name), noun) for name in history.data_vars if _is_shown(history[name], evaluation)),
        *_covariances(evaluation),
        terms_figure(history, noun),
    ]


def figures_of_selection(chosen: Selected | None) -> list[ReportFigure]:
    """The path that a selection followed; nothing without one."""
    if chosen is None:
        return []
    kept = ", ".join(f"z{number}" for number in chosen.kept)
    caption = (
        f"{chosen.said()}. Each level goes on from the one left of it. Kept, and from here on numbered anew: {kept}."
    )
    return [path_figure("path", caption, "Where latents enter", chosen.path, chosen.plateau)]


def path_figure(name: str, caption: str, title: str, path: xr.Dataset, plateau: xr.Dataset | None) -> ReportFigure:
    """The latent path, with what is seen of it."""
    rules = {rule: words for rule, words in JUDGED.items() if rule in path}
    ends = ", ".join(f"{int(path[rule][-1].sum())} by {words}" for rule, words in rules.items())
    alt = f"A line a latent over {path.sizes['level']} weights, and below how many are in: at the last weight {ends}"
    alt += "" if plateau is None else f"; shaded where {int(plateau['count'])} stay in"
    return ReportFigure(name, caption, plot_latent_path(path, plateau), title, f"{alt}.")


def named(figure: str, words: str, site: str, evaluation: Evaluation) -> tuple[str, str]:
    """A figure's file name and title, with the code that it is of where there are several."""
    if len(evaluation.latents) == 1:
        return figure, words
    return f"{figure}_{re.sub('[^A-Za-z0-9_-]', '_', site)}", f"{words}: {site}"


def _pictures(evaluation: Evaluation) -> list[ReportFigure]:
    return [*_reconstructions(evaluation), *(_traversal(evaluation, site) for site in evaluation.traversals)]


def _reconstructions(evaluation: Evaluation) -> list[ReportFigure]:
    """None where p(x | z) has no mean: draws are no reconstruction, and are shown as what they are."""
    observed, redrawn = images_of(evaluation.tree).isel(image=slice(10)), evaluation.reconstructions
    if redrawn.attrs["shown"] == "draws":
        return []
    few = redrawn.isel(image=slice(10))
    words = "Training images above, the mean of p(x | z) at the posterior mean of all latents below."
    return [reconstructions_figure(observed, few, words)]


def reconstructions_figure(observed: xr.DataArray, redrawn: xr.DataArray, words: str) -> ReportFigure:
    """Images (image, channel, row, column) above others in their place; ``words``: what the two rows are."""
    dims = [dim for dim in redrawn.dims if dim != "image"]
    errors = ((observed - redrawn) ** 2).mean(dims) ** 0.5
    seen = (
        f"The error of a pixel is {float(errors.min()):.2g} to {float(errors.max()):.2g} (RMSE), where images differ "
    )
    seen += f"from each other by {shown(differ(observed, 'image'))}"
    alt = f"{redrawn.sizes['image']} images and below each its reconstruction. {seen}. {tones(redrawn)}"
    return ReportFigure("reconstructions", f"{words} {seen}.", plot_reconstructions(observed, redrawn), "", alt)


def _traversal(evaluation: Evaluation, site: str) -> ReportFigure:
    traversal = evaluation.traversals[site]
    name, title = named("traversals", "Traversals", site, evaluation)
    caption = (
        "One image redrawn while one latent moves over the range of its codes; latents sorted by their KL"
        f"{', with the factor that each tells most of' if 'factor' in evaluation.latents[site] else ''}. "
        f"A row in which nothing changes is a latent the decoder does not use; {moving(traversal)}."
    )
    if traversal.attrs["dependent"]:
        caption += f" What depends on it, {', '.join(traversal.attrs['dependent'])}, is drawn anew, of one noise."
    if traversal.attrs["shown"] == "draws":
        caption += " Draws of p(x | z), all with the same noise, as it has no mean."
    if traversal.sizes["latent"] > MOST:
        caption += f" The first {MOST} of {traversal.sizes['latent']}."
    latents, few = evaluation.latents[site], traversal.isel(latent=slice(MOST))
    names = dict(zip(latents["latent"].values.tolist(), told_names(latents, site), strict=True))
    few = few.assign_coords(latent=[names[number] for number in few["latent"].values.tolist()])
    alt = f"{few.sizes['latent']} rows of {few.sizes['step']} images; {moving(few)}."
    return ReportFigure(name, caption, plot_traversals(few), title, alt)


def moving(traversal: xr.DataArray) -> str:
    """How many latents of a traversal change the image, and which most."""
    ends = abs(traversal.isel(step=-1) - traversal.isel(step=0)).mean(["channel", "row", "column"])
    many = f"{int((ends > STILL).sum())} of {ends.size} rows change by more than {STILL:g} a pixel between their ends"
    return f"{many}, {latent_names(traversal)[int(ends.argmax('latent'))]} the most, by {shown(float(ends.max()))}"


def _informative(evaluation: Evaluation, site: str) -> ReportFigure:
    name, _ = named("informative", "", site, evaluation)
    title = f"Which latents{'' if len(evaluation.latents) == 1 else f' of {site}'} are informative?"
    latents = evaluation.latents[site]
    rules = {rule: words for rule, words in JUDGED.items() if rule in latents}
    seen = ", ".join(f"{int(latents[rule].sum())} by {words}" for rule, words in rules.items())
    seen = f"Of {latents.sizes['latent']} latents count {seen}"
    caption = f"{seen}: a panel a rule, with the number behind it."
    caption += " A feature map is one latent." if event_dims_of(evaluation.tree, site)[1:] else ""
    return ReportFigure(name, caption, plot_informative(latents), title, f"Dots, full where a latent counts. {seen}.")


def _is_shown(array: xr.DataArray, evaluation: Evaluation) -> bool:
    """Whether it is a KL over training that splits by latent, of a code that is shown."""
    if array.ndim < 2 or not (array.name == "kl" or str(array.name).startswith("kl_")):
        return False
    site = str(array.name).removeprefix("kl_")
    return site in evaluation.traversals or site not in evaluation.latents


def _covariances(evaluation: Evaluation) -> list[ReportFigure]:
    codes = readings(evaluation.tree)
    varying = {f"{name} latents": scaled_covariance(code) for name, code in codes.items() if _varies(code)}
    if not varying:
        return []
    seen = off_diagonal(varying)
    caption = (
        f"{sentence(seen)} Scaled covariance over the {noun_in(evaluation.tree).many}, the largest entry 1: bright off "
        "the diagonal are correlated latents."
    )
    alt = f"Heat maps of latents by latents. {sentence(seen)}"
    return [ReportFigure("covariances", caption, plot_covariances(varying), "", alt)]


def off_diagonal(matrices: Mapping[str, xr.DataArray]) -> str:
    """The largest entry beside the diagonal of each matrix, of the largest of all."""
    found = {}
    for name, matrix in matrices.items():
        size = abs(matrix.values)
        beside = size[~np.eye(len(size), dtype=bool)]
        found[name] = float(beside.max(initial=0)) / max(float(size.max()), 1e-12)
    return "; ".join(f"{name}: the largest off the diagonal is {largest:.2f}" for name, largest in found.items())


def _varies(code: xr.DataArray) -> bool:
    """Whether any latent does: the means of a collapsed pair have no covariance to draw."""
    return bool((code != code.isel(image=0)).any())
