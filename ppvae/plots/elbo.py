"""The bound over a training run, of the images trained on and of those held apart."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate, number, spread
from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.scales import epoch_axis, scale_axis
from ppvae.plots.style import ACCENT, INK, finish, house_style, new_figure

__all__ = ["plot_elbo"]

CURVES = {"elbo": ("training", ACCENT, "-"), "validation_elbo": ("validation", INK, (0, (4, 2)))}
LINE_INCHES = 0.17


@house_style()
def plot_elbo(history: xr.Dataset) -> Figure:
    """The ELBO, nats per image or row, over the epochs: of the training, and dashed of the validation where there is.

    history: ``elbo`` (epoch), else ``rate`` and ``distortion``, of which it is the negative sum; ``validation_elbo``
    (epoch) is optional. First epochs that are far below all others are left out of the axis and named in a note. The
    training's is the mean over an epoch, while the pair changes, the validation's that of the pair at the epoch's end.
    UserError for missing variables or dims.
    """
    found = require_dataset(history, "history")
    if "elbo" not in found:
        terms = [require_variable(found, name, ("epoch",), "history") for name in ("rate", "distortion")]
        found = found.assign(elbo=-sum(terms))
    names = [name for name in CURVES if name in found]
    values = np.column_stack([require_variable(found, name, ("epoch",), "history").values for name in names])
    epochs = coordinate(found["elbo"], "epoch", start=1)
    figure = new_figure(8.2, 3.2)
    axes = figure.subplots()
    for name, line in zip(names, values.T, strict=True):
        words, colour, style = CURVES[name]
        axes.plot(epochs, line, color=colour, linestyle=style, marker="o" if len(epochs) < 4 else None, label=words)
    axes.grid(axis="y")
    axes.set_ylabel(f"ELBO, {found[names[0]].attrs.get('units', 'nats per image')}")
    axes.margins(x=0.01)
    epoch_axis(axes, epochs)
    scale_axis(axes, values.astype(float))
    _name_ends(axes, names, values.astype(float))
    return finish(figure)


def _name_ends(axes: Axes, names: list[str], values: np.ndarray) -> None:
    """Each curve's name and last value beside its end, apart from each other."""
    axes.get_ylim()  # settles the limits that autoscaling left open
    ends = values[-1]
    heights = axes.transAxes.inverted().transform(axes.transData.transform(np.column_stack([0 * ends, ends])))[:, 1]
    places = spread(heights.clip(0, 1), LINE_INCHES / (axes.figure.get_figheight() - 0.7), 0.0, 1.0)
    for name, end, place in zip(names, ends, places, strict=True):
        words, colour, _ = CURVES[name]
        style = {"color": colour, "fontsize": 9, "va": "center", "transform": axes.transAxes}
        axes.text(1.012, place, f"{words} {number(end, 4)}", **style)
