"""Rate and distortion over a training run."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate, number
from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.scales import epoch_axis, scale_axis
from ppvae.plots.style import ACCENT, FAINT, INK, MUTED, finish, house_style, new_figure

__all__ = ["plot_rate_distortion"]

DROP = 0.6
MOST_DROPS = 8
PANELS = (("distortion", "distortion  E[−log p(x | z)]", INK), ("rate", "rate  KL(q ‖ p)", ACCENT))


@house_style()
def plot_rate_distortion(history: xr.Dataset) -> Figure:
    """Distortion above rate, in nats per image or row, over the epochs, with the steps down of the learning rate.

    history: ``rate`` and ``distortion`` (epoch); optional are ``learning_rate``, and ``validation_rate`` and
    ``validation_distortion``, drawn dashed. An axis whose values span orders of magnitude becomes logarithmic above a
    floor that its label names. UserError for missing variables or dims.
    """
    curves = {name: require_variable(history, name, ("epoch",), "history") for name, _, _ in PANELS}
    epochs = coordinate(require_dataset(history, "history"), "epoch", start=1)
    figure = new_figure(8.2, 5.0)
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    for axes, (name, label, colour) in zip(panels, PANELS, strict=True):
        shown = [curves[name].values.astype(float)]
        _draw(axes, epochs, curves[name], label, colour)
        if f"validation_{name}" in history:
            held = require_variable(history, f"validation_{name}", ("epoch",), "history")
            _draw_validation(axes, epochs, held)
            shown.append(held.values.astype(float))
        scale_axis(axes, np.column_stack(shown))
    _mark_drops(panels, epochs, history)
    epoch_axis(panels[-1], epochs)
    figure.align_ylabels()
    return finish(figure)


def _draw(axes: Axes, epochs: np.ndarray, curve: xr.DataArray, title: str, colour: str) -> None:
    values = curve.values.astype(float)
    axes.plot(epochs, values, color=colour, marker="o" if len(epochs) < 4 else None, markersize=4)
    axes.grid(axis="y")
    axes.set_title(title, color=colour)
    axes.set_ylabel(curve.attrs.get("units", "nats per image"))
    axes.margins(x=0.02)
    if np.isfinite(values[-1]):
        axes.plot(epochs[-1:], values[-1:], "o", color=colour, markersize=4)
        style = {"color": colour, "ha": "left", "va": "center", "fontsize": 9, "annotation_clip": False}
        axes.annotate(number(values[-1], 4), (epochs[-1], values[-1]), (8, 0), textcoords="offset points", **style)


def _draw_validation(axes: Axes, epochs: np.ndarray, values: xr.DataArray) -> None:
    """Of images that are not trained on: where it leaves the training's, the pair learns those by heart."""
    axes.plot(epochs, values, color=MUTED, linestyle=(0, (4, 2)), linewidth=1.2, zorder=1, label="validation")
    axes.legend(loc="upper right", frameon=False, fontsize=8, labelcolor=MUTED)


def _mark_drops(panels: np.ndarray, epochs: np.ndarray, history: xr.Dataset) -> None:
    """Lines where the learning rate falls at once; a rate that falls all the time has no steps to mark."""
    if "learning_rate" not in history:
        return
    rates = require_variable(history, "learning_rate", ("epoch",), "history").values.astype(float)
    drops = 1 + np.flatnonzero(rates[1:] < DROP * rates[:-1])
    for drop in drops if len(drops) <= MOST_DROPS else []:
        for axes in panels:
            axes.axvline(epochs[drop], color=FAINT, linewidth=1.2, zorder=0)
        text = f"lr {rates[drop]:.0e}".replace("e-0", "e−").replace("e-", "e−")
        style = {"color": MUTED, "fontsize": 8, "ha": "left", "va": "top"}
        panels[0].annotate(text, (epochs[drop], 1), (4, -1), ("data", "axes fraction"), "offset points", **style)
