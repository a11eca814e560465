"""Which labels each cluster holds (the auxiliary-task paper, Fig. 4)."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate
from ppvae.plots.require import require_variable
from ppvae.plots.style import MUTED, bare, finish, house_style, new_figure

__all__ = ["plot_assignments"]


@house_style()
def plot_assignments(dataset: xr.Dataset) -> Figure:
    """A row a label, a column a cluster, sorted by its commonest label: darker, the more images.

    dataset, as from ``clustering_accuracy``: ``counts`` (cluster, label) and the scalar ``score``, which stands above.
    UserError for other variables or dims. Source: Anonymous 2019, "Explicit information placement on latent variables
    using auxiliary generative modelling task", Fig. 4.
    """
    counts = require_variable(dataset, "counts", ("label", "cluster"), "assignments")
    values = counts.values
    order = np.lexsort((-values.max(0), values.argmax(0)))
    rows, columns = values.shape
    figure = new_figure(1.1 + 0.26 * columns, 0.9 + 0.26 * rows)
    axes = figure.subplots()
    picture = axes.imshow(values[:, order], cmap="Blues", vmin=0, aspect="auto", interpolation="nearest")
    clusters = [str(name) for name in np.asarray(coordinate(counts, "cluster"))[order]]
    axes.set(xticks=range(columns), xticklabels=clusters, xlabel="cluster")
    axes.tick_params(axis="x", labelsize=7)
    axes.set(yticks=range(rows), yticklabels=[str(name) for name in coordinate(counts, "label")], ylabel="label")
    bare(axes)
    figure.colorbar(picture, ax=axes, label="images", pad=0.01, fraction=0.03)
    score = dataset["score"]
    figure.suptitle(f"{score.attrs['long_name']} {float(score):.3f}", x=0.01, ha="left", color=MUTED, fontsize=8.5)
    return finish(figure)
