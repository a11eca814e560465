"""What a classifier calls images of each label."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate
from ppvae.plots.require import require_variable
from ppvae.plots.style import MUTED, bare, finish, house_style, new_figure

__all__ = ["plot_confusion"]

WRITTEN = 16  # labels at most whose shares are written out


@house_style()
def plot_confusion(dataset: xr.Dataset) -> Figure:
    """A row a label, a column what images of it are called, in per cent of the row: darker, the more.

    dataset: ``counts`` (label, named) of images and the scalar ``score``, the share on the diagonal, which stands
    above. UserError for other variables or dims.
    """
    counts = require_variable(dataset, "counts", ("label", "named"), "confusion").transpose("label", "named")
    shares = 100 * counts.values / np.maximum(counts.values.sum(1, keepdims=True), 1)
    labels, named = ([str(name) for name in coordinate(counts, dim)] for dim in counts.dims)
    figure = new_figure(1.6 + 0.42 * len(named), 1.0 + 0.34 * len(labels))
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    axes.set(xticks=range(len(named)), xticklabels=named, xlabel="called", yticks=range(len(labels)))
    axes.set(yticklabels=labels, ylabel="label")
    if len(labels) <= WRITTEN:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                colour = "white" if share > 55 else "black"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    bare(axes)
    figure.colorbar(picture, ax=axes, label="per cent of the label's images", pad=0.02, fraction=0.04)
    figure.suptitle(f"accuracy {float(dataset['score']):.3f}", x=0.01, ha="left", color=MUTED, fontsize=8.5)
    return finish(figure)
