"""How often a classifier names the label of redrawn images (the auxiliary-task paper, Fig. 3)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.colours import distinct
from ppvae.plots.style import MUTED, finish, house_style, new_figure

__all__ = ["plot_accuracies"]


@house_style()
def plot_accuracies(accuracies: Mapping[str, Mapping[str, float]], *, chance: float | None = None) -> Figure:
    """One group of bars a model, one bar a kind of image, with its accuracy in per cent above.

    accuracies: model → kind of image → accuracy in [0, 1], the same kinds for each model; ``chance``: a line.
    UserError for no models, other kinds, or numbers outside [0, 1]. Source: Anonymous 2019, "Explicit information
    placement on latent variables using auxiliary generative modelling task", Fig. 3.
    """
    kinds = [list(bars) for bars in accuracies.values()]
    if not kinds or any(kind != kinds[0] for kind in kinds):
        raise UserError(f"accuracies: got kinds {kinds}, expected one or more models with the same kinds of image")
    values = np.array([list(bars.values()) for bars in accuracies.values()], dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError(f"accuracies: got values from {values.min()} to {values.max()}, expected shares in [0, 1]")
    models, count = values.shape
    width = 0.8 / count
    figure = new_figure(max(4.5, 0.75 + 0.62 * models * count + 1.8), 3.2)
    axes = figure.subplots()
    for place, (kind, colour) in enumerate(zip(kinds[0], distinct(count), strict=True)):
        x = np.arange(models) + (place - (count - 1) / 2) * width
        bars = axes.bar(x, 100 * values[:, place], 0.92 * width, color=colour, label=kind)
        axes.bar_label(bars, fmt="%.0f", fontsize=8.5, color=MUTED)
    if chance is not None:
        axes.axhline(100 * chance, color=MUTED, linewidth=0.9, linestyle="--", label="commonest label")
    axes.set(xticks=range(models), xticklabels=list(accuracies), ylabel="accuracy (per cent)", ylim=(0, 105))
    figure.legend(loc="outside right center", frameon=False)
    return finish(figure)
