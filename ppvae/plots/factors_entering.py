"""Controlled capacity over training: the KL beside its target, and what the codes know."""

from itertools import cycle

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppvae.plots.colours import distinct
from ppvae.plots.labels import coordinate
from ppvae.plots.require import require_variable
from ppvae.plots.style import ACCENT, INK, finish, house_style, new_figure

__all__ = ["plot_capacity"]

MARKERS = "osD^vPX"  # hollow: of two lines in one place both are seen


@house_style()
def plot_capacity(progress: xr.Dataset) -> Figure:
    """Above, the KL and the capacity C it should follow; below, the share of each factor that the codes explain.

    progress: ``capacity`` and ``rate`` (epoch), nats; ``explained`` (epoch, factor), R² of each factor from the codes.
    UserError for missing variables or other dims. Source: Burgess et al. 2018, Fig. 4.
    """
    capacity = require_variable(progress, "capacity", ("epoch",), "progress")
    rate = require_variable(progress, "rate", ("epoch",), "progress")
    explained = require_variable(progress, "explained", ("epoch", "factor"), "progress")
    figure = new_figure(7.4, 5.2)
    above, below = figure.subplots(2, 1, sharex=True)
    epochs = progress["epoch"].values
    above.plot(epochs, rate, color=ACCENT, marker="o", markersize=4.5, linewidth=3.0, label="KL")
    above.plot(epochs, capacity, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="capacity C")
    above.set(ylabel="nats per image", ylim=(min(0.0, float(rate.min())), None))
    names = coordinate(explained, "factor")
    for line, name, colour, marker in zip(
        explained.values.T, names, distinct(len(names)), cycle(MARKERS), strict=False
    ):
        below.plot(epochs, line, color=colour, marker=marker, markersize=5.5, fillstyle="none", label=str(name))
    below.set(ylabel="R² from the codes", xlabel="epoch", ylim=(min(0.0, float(explained.min())) - 0.05, 1.05))
    below.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (above, below):
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return finish(figure)
