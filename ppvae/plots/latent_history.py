"""One quantity of every latent over a training run (NGVAE paper, Fig. 3)."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate, latent_names, spread
from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.scales import epoch_axis, scale_axis
from ppvae.plots.style import MUTED, finish, house_style, new_figure, shades

__all__ = ["plot_latent_history"]

LABELS = {"p": "probability p of being uninformative", "kl": "KL(q ‖ p)"}
UNUSED = "#b4bcc6"
LABEL_INCHES = 0.155
MOST_NAMES = 24


@house_style()
def plot_latent_history(history: xr.Dataset, variable: str = "p") -> Figure:
    """One line a latent over the epochs, named at its right end; for ``p`` with the line at one half.

    history[variable] (epoch, latent), whatever its second dim is called: ``p`` in [0, 1], ``kl`` or ``kl_<site>`` in
    nats per image, summed over the entries of feature maps (epoch, map, row, column), or any other. Colour goes from
    the latents with the lowest mean over the run to the highest; for ``p``, latents that end above one half are grey.
    Of more than 24 latents only the most informative (lowest p, else highest value) are named. UserError for a missing
    variable or other dims. Source: Fig. 3 of the NGVAE paper.
    """
    values = _by_latent(history, variable)
    site = variable.removeprefix("kl_") if variable.startswith("kl_") else "z"
    names, epochs = latent_names(values, site=site), coordinate(values, "epoch", start=1)
    lines = values.values.astype(float)
    figure = new_figure(8.2, max(3.4, 0.8 + LABEL_INCHES * min(len(names), MOST_NAMES) * 1.25))
    axes = figure.subplots()
    colours = _colours(lines, grey_above=0.5 if variable == "p" else np.inf)
    for line, colour, name in zip(lines.T, colours, names, strict=True):
        look = {"zorder": 1, "linewidth": 1.0} if colour == UNUSED else {"zorder": 2}
        axes.plot(epochs, line, color=colour, label=name, marker="o" if len(epochs) < 4 else None, **look)
    _frame(axes, epochs, lines, variable, history[variable].attrs.get("units", "nats per image"))
    _name_lines(axes, lines, names, colours, rising=variable != "p")
    return finish(figure)


def _by_latent(history: xr.Dataset, variable: str) -> xr.DataArray:
    """The variable as (epoch, latent)."""
    dims = require_dataset(history, "history").get(variable, xr.DataArray()).dims
    own = tuple(dim for dim in dims if dim != "epoch") if "epoch" in dims else ("latent",)
    values = require_variable(history, variable, ("epoch", *(own or ("latent",))), "history")
    return values.sum(own[1:], skipna=False).rename({own[0]: "latent"} if own[0] != "latent" else {})


def _last(lines: np.ndarray) -> np.ndarray:
    """The last finite value of each column; nan where there is none."""
    return np.array([line[np.isfinite(line)][-1] if np.isfinite(line).any() else np.nan for line in lines.T])


def _colours(lines: np.ndarray, grey_above: float) -> list:
    finite = np.where(np.isfinite(lines), lines, 0.0)
    used = np.flatnonzero(~(_last(lines) > grey_above))
    ordered = used[np.argsort(finite.mean(axis=0)[used], kind="stable")]
    colours: list = [UNUSED] * lines.shape[1]
    for latent, colour in zip(ordered, shades(len(ordered)), strict=True):
        colours[latent] = colour
    return colours


def _frame(axes: Axes, epochs: np.ndarray, lines: np.ndarray, variable: str, units: str) -> None:
    axes.margins(x=0.01)
    epoch_axis(axes, epochs)
    if variable == "p":
        axes.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1], ylabel=LABELS["p"])
        axes.set_yticklabels(["0", "½", "1"])
        axes.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        return
    axes.grid(axis="y")
    axes.set_ylabel(f"{LABELS['kl']}, {units}" if variable == "kl" or variable.startswith("kl_") else variable)
    scale_axis(axes, lines)


def _name_lines(axes: Axes, lines: np.ndarray, names: list[str], colours: list, rising: bool) -> None:
    """Names in a column right of the axes, moved apart, each with a thin leader from its line's end."""
    ends = _last(lines)
    ranked = np.argsort(-ends if rising else ends, kind="stable")[:MOST_NAMES]
    shown = ranked[np.isfinite(ends[ranked])]
    heights = _axes_heights(axes, ends[shown])
    tall = axes.figure.get_figheight() - 0.7
    places = spread(heights, LABEL_INCHES / tall, 0.0, 1.0)
    for latent, height, place in zip(shown, heights, places, strict=True):
        colour = MUTED if colours[latent] == UNUSED else colours[latent]
        axes.plot([1.004, 1.028], [height, place], color=colour, linewidth=0.6, transform=axes.transAxes, clip_on=False)
        axes.text(1.034, place, names[latent], color=colour, fontsize=8.5, va="center", transform=axes.transAxes)


def _axes_heights(axes: Axes, values: np.ndarray) -> np.ndarray:
    """Where values lie on the y axis, from 0 at its bottom to 1 at its top."""
    axes.get_ylim()  # settles the limits that autoscaling left open
    points = np.column_stack([np.zeros_like(values), values])
    return axes.transAxes.inverted().transform(axes.transData.transform(points))[:, 1]
