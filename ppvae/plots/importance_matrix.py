"""Which latent matters for which factor, as numbers on a heat map (DCI)."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.labels import coordinate, latent_names
from ppvae.plots.require import require_variable
from ppvae.plots.style import INK, MUTED, PAPER, bare, finish, house_style, new_figure

__all__ = ["plot_importance_matrix"]

LIGHT_FROM = 0.55  # of the colour map: darker cells carry light numbers
SCORES = {"score": "disentanglement", "mean_completeness": "completeness", "mean_informativeness": "informativeness"}


@house_style()
def plot_importance_matrix(dataset: xr.Dataset) -> Figure:
    """A row a factor, a column a latent: the share of the factor's importance that the latent holds, in per cent.

    dataset, as from ``dci_metric``: ``importance`` (factor, latent), not negative; its scalars ``score``,
    ``mean_completeness`` and ``mean_informativeness``, where they are there, stand above. Each row is divided by its
    sum; cells below half a per cent stay empty, and so does the row of a factor that no latent matters for. UserError
    for other dims, for importances below zero or not finite.
    """
    importance = require_variable(dataset, "importance", ("factor", "latent"), "importance matrix")
    shares = _shares(importance)
    rows, columns = shares.shape
    figure = new_figure(1.5 + 0.44 * columns, 1.15 + 0.36 * rows)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    _number_cells(axes, shares)
    axes.set(xticks=range(columns), xticklabels=latent_names(importance), xlabel="latent")
    axes.set(yticks=range(rows), yticklabels=[str(name) for name in coordinate(importance, "factor")], ylabel="factor")
    bare(axes)
    scores = [f"{name} {float(dataset[key]):.2f}" for key, name in SCORES.items() if key in dataset]
    # over several lines where the matrix is narrow, so that nothing is cut off
    separator = "    " if columns >= 10 else "\n"
    figure.suptitle(separator.join(["importance, per cent", *scores]), x=0.01, ha="left", color=MUTED, fontsize=8.5)
    return finish(figure)


def _shares(importance: xr.DataArray) -> np.ndarray:
    values = importance.values.astype(float)
    if not np.isfinite(values).all() or (values < 0).any():
        wrong = int((~np.isfinite(values) | (values < 0)).sum())
        raise UserError(
            f"importance matrix: {wrong} entries are negative or not finite, expected shares: plot dci_metric's"
        )
    total = values.sum(1, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)


def _number_cells(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = PAPER if share > LIGHT_FROM else INK
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8.5)
