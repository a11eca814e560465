"""How well the guide's draws serve as importance samples, image by image."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppvae.errors import UserError
from ppvae.nouns import Noun, called
from ppvae.plots.require import require_variable
from ppvae.plots.style import ACCENT, INK, finish, house_style, new_figure

__all__ = ["plot_importance"]

BINS = 40
BEYOND = 0.05  # width of the bars of what is infinite, as a share of the axis
WARNING = "#b3372f"


@house_style()
def plot_importance(importance: xr.Dataset) -> Figure:
    """Two panels: how many images have which k̂, the threshold dashed, and which share of draws is effective.

    importance, dim image, as from ``importance`` or ``log_marginal``: ``pareto_k`` with its attribute ``good``,
    ``effective_samples``, and the attribute ``num_samples``; an attribute ``noun`` says what they are if no images.
    Those without a fit (NaN), of an exact guide (−inf) or with one draw that holds all weight (inf) are counted in the
    title. UserError where one of these is missing.
    """
    shape = require_variable(importance, "pareto_k", ("image",), "importance")
    effective = require_variable(importance, "effective_samples", ("image",), "importance")
    if "good" not in shape.attrs or "num_samples" not in importance.attrs:
        raise UserError("importance lacks the attribute good of pareto_k or num_samples; make it with importance(tree)")
    noun = called(importance.attrs.get("noun", "image"))
    figure = new_figure(8.2, 3.0)
    left, right = figure.subplots(1, 2)
    _draw_shapes(left, shape.values.astype(float), float(shape.attrs["good"]), noun)
    shares = effective.values / importance.attrs["num_samples"]
    right.hist(shares[np.isfinite(shares)], bins=np.linspace(0, 1, BINS + 1), color=ACCENT)
    right.set(xlabel="effective share of the draws", ylabel=noun.many, xlim=(0, 1))
    right.set_title(f"median {np.nanmedian(shares):.0%} of {importance.attrs['num_samples']} draws")
    return finish(figure)


def _draw_shapes(axes: Axes, shape: np.ndarray, good: float, noun: Noun) -> None:
    """A histogram of what is finite; what is not has a bar of its own behind either end of the axis."""
    finite = shape[np.isfinite(shape)]
    places = MaxNLocator(5).tick_values(min(0.0, *finite.tolist(), good), max(1.0, *finite.tolist(), good))
    low, high = places[0], places[-1]  # an axis ends with values
    axes.hist(finite, bins=np.linspace(low, high, BINS + 1), color=ACCENT)
    axes.axvline(good, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlabel=f"k̂, shape of the weights' tail (dashed: good below {good:.2f})", ylabel=noun.many)
    ticks, names = [*places], [f"{place:g}" for place in places]
    width = BEYOND * (high - low)
    beyond = (
        ("−∞", np.isneginf(shape), low - 1.5 * width, ACCENT),
        ("∞", np.isposinf(shape), high + 1.5 * width, WARNING),
    )
    for name, infinite, place, colour in beyond:
        if infinite.any():
            axes.bar(place, infinite.sum(), width=width, color=colour)
            ticks, names = [*ticks, place], [*names, name]
    axes.set_xticks(ticks, names)
    others = {"exact": np.isneginf(shape), "infinite": np.isposinf(shape), "without a fit": np.isnan(shape)}
    notes = [f"{int(which.sum())} {name}" for name, which in others.items() if which.any()]
    axes.set_title(", ".join([f"k̂ too large for {int((shape > good).sum())} of {len(shape)} {noun.many}", *notes]))
