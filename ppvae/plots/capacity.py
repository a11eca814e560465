"""Controlled capacity over training: the KL beside its target, and what the codes know."""

import xarray as xr
from matplotlib.figure import Figure

from ppvae.plots.require import require_variable
from ppvae.plots.style import INK, MUTED, finish, house_style, new_figure, shades

__all__ = ["plot_capacity"]


@house_style()
def plot_capacity(progress: xr.Dataset) -> Figure:
    """Above, the KL and the capacity C it should follow; below, the share of each factor that the codes explain.

    progress: `capacity` and `rate` (epoch), nats; `explained` (epoch, factor), R² of each factor from the codes.
    UserError for missing variables or other dims. Source: Burgess et al. 2018, Fig. 4.
    """
    capacity = require_variable(progress, "capacity", ("epoch",), "progress")
    rate = require_variable(progress, "rate", ("epoch",), "progress")
    explained = require_variable(progress, "explained", ("epoch", "factor"), "progress")
    figure = new_figure(7.4, 5.2)
    above, below = figure.subplots(2, 1, sharex=True)
    epochs = progress["epoch"].values
    above.plot(epochs, capacity, color=MUTED, linestyle=(0, (4, 3)), label="capacity C")
    above.plot(epochs, rate, color=INK, marker="o", markersize=3.5, label="KL")
    above.set_ylabel("nats per image")
    for factor, colour in zip(explained["factor"].values, shades(explained.sizes["factor"], name="turbo"), strict=True):
        line = explained.sel(factor=factor)
        below.plot(epochs, line, color=colour, marker="o", markersize=3.5, label=str(factor))
    below.set(ylabel="R² from the codes", xlabel="epoch", ylim=(min(-0.05, float(explained.min())), 1.05))
    for axes in (above, below):
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return finish(figure)
