"""Five ways to count informative latents, side by side."""

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ppvae.errors import UserError
from ppvae.plots.labels import latent_names, tick
from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.style import ACCENT, FAINT, INK, MUTED, PAPER, finish, house_style, new_figure

__all__ = ["plot_informative"]

DISPUTED = "#fdf3dc"
LEGEND = "● counted as informative    ○ not counted    shaded: the criteria disagree"
DASHED = "    dashed: threshold"
RULE = re.compile(r"[<>]=?\s*(\d[\d.]*(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Criterion:
    """One count: the variable that decides, the number behind it, and how both are shown."""

    decision: str
    number: str
    title: str
    label: str
    threshold: float | None = None


CRITERIA = (
    Criterion("by_probability", "probability", "probability p", "p of being uninformative", 0.5),
    Criterion("by_variance", "variance_ratio", "posterior variance", "variance / prior variance"),
    Criterion("by_kl", "kl", "KL divergence", "nats"),
    Criterion("by_ablation", "relative", "ablation", "relative increase of squared error"),
    Criterion("by_relevance", "relevance", "relevance", "squared Jacobian × variance"),
)


@house_style()
def plot_informative(dataset: xr.Dataset) -> Figure:
    """A panel a criterion, a row a latent (largest KL on top): full dots are counted as informative, hollow not.

    dataset, dim latent, as from ``informative_latents``: booleans ``by_probability``, ``by_variance``, ``by_kl``,
    ``by_ablation`` and ``by_relevance`` with their numbers ``probability``, ``variance_ratio``, ``kl`` (nats),
    ``relative`` and ``relevance`` (squared pixel values). Missing criteria are left out; the threshold that a boolean's
    ``rule`` attribute states is drawn; rows with a disagreement are shaded.
    UserError for other dims or when there is no criterion at all.
    """
    criteria = [criterion for criterion in CRITERIA if criterion.decision in require_dataset(dataset, "informative")]
    if not criteria:
        expected = ", ".join(criterion.decision for criterion in CRITERIA)
        raise UserError(f"informative: got variables {sorted(map(str, dataset))}, expected one or more of {expected}")
    variables = {
        name: require_variable(dataset, name, ("latent",), "informative")
        for criterion in criteria
        for name in (criterion.decision, criterion.number)
    }
    order = _order(dataset)
    decisions = {c.decision: variables[c.decision].values.astype(bool)[order] for c in criteria}
    figure = new_figure(2.05 * len(criteria) + 0.7, min(1.2 + 0.215 * len(order), 14))
    panels = np.atleast_1d(figure.subplots(1, len(criteria), sharey=True))
    for axes, criterion in zip(panels, criteria, strict=True):
        _shade_disputes(axes, np.array(list(decisions.values())))
        _draw(axes, criterion, variables, decisions[criterion.decision], order)
    names = latent_names(dataset)
    panels[0].set(yticks=range(len(order)), yticklabels=[names[latent] for latent in order])
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    dashed = any(_threshold(criterion, variables) is not None for criterion in criteria)
    figure.supxlabel(LEGEND + DASHED * dashed, color=MUTED, fontsize=8.5)
    return finish(figure)


def _order(dataset: xr.Dataset) -> np.ndarray:
    """Latents by KL, largest first, or as they come where there is no KL."""
    if "kl" not in dataset:
        return np.arange(dataset.sizes["latent"])
    return np.argsort(-np.nan_to_num(dataset["kl"].values.astype(float)), kind="stable")


def _shade_disputes(axes: Axes, decisions: np.ndarray) -> None:
    for row in np.flatnonzero(decisions.any(axis=0) & ~decisions.all(axis=0)):
        axes.axhspan(row - 0.5, row + 0.5, color=DISPUTED, linewidth=0, zorder=0)


def _draw(axes: Axes, criterion: Criterion, variables: dict, counted: np.ndarray, order: np.ndarray) -> None:
    values = variables[criterion.number].values.astype(float)[order]
    rows = np.arange(len(values))
    axes.hlines(rows, 0, values, color=np.where(counted, ACCENT, FAINT), linewidth=1.4, zorder=1)
    faces, edges = np.where(counted, ACCENT, PAPER), np.where(counted, ACCENT, MUTED)
    axes.scatter(values, rows, s=30, c=faces, edgecolors=edges, linewidths=1.1, zorder=3, clip_on=False)
    threshold = _threshold(criterion, variables)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=2)
    axes.set_title(f"{criterion.title}\n", fontsize=10)
    count = f"{int(counted.sum())} of {len(counted)} informative"
    axes.annotate(count, (0, 1), (0, 7), "axes fraction", "offset points", color=ACCENT, fontsize=9)
    axes.set_xlabel(criterion.label)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _scale(axes, criterion, variables, values)


def _threshold(criterion: Criterion, variables: dict) -> float | None:
    """The number in the decision's ``rule``, e.g. "kl > 0.1 nats"; the criterion's own where it states none."""
    stated = RULE.search(str(variables[criterion.decision].attrs.get("rule", "")))
    return float(stated[1]) if stated else criterion.threshold


def _scale(axes: Axes, criterion: Criterion, variables: dict, values: np.ndarray) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    if criterion.number == "probability":
        axes.set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1])
    else:
        finite = values[np.isfinite(values)]
        low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
        ends = MaxNLocator(4).tick_values(low, max(high, _threshold(criterion, variables) or 0.0, 1e-12))
        axes.set_xlim(ends[0] if low < 0 else 0, ends[-1])
