"""Covariance matrices of the latents side by side (NGVAE paper, Fig. 4)."""

from collections.abc import Mapping

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ppvae.errors import UserError
from ppvae.plots.labels import coordinate
from ppvae.plots.require import require_array
from ppvae.plots.style import bare, finish, house_style, new_figure

__all__ = ["plot_covariances"]

DIMS = ("latent", "latent_")
PER_LINE = 4


@house_style()
def plot_covariances(covariances: Mapping[str, xr.DataArray]) -> Figure:
    """The absolute covariance of the latents over a dataset, each matrix divided by its largest entry.

    covariances: name → (latent, latent_); matrices that are scaled already stay as they are. Yellow is near 1.
    UserError for other dims, a matrix that is not square or nothing to draw. Source: Fig. 4 of the NGVAE paper.
    """
    if not covariances:
        raise UserError("covariances: got none, expected at least one name with a matrix (latent, latent_)")
    matrices = {name: _scaled(matrix, f"covariance {name!r}") for name, matrix in covariances.items()}
    places = min(len(matrices), PER_LINE)
    lines = -(-len(matrices) // PER_LINE)
    figure = new_figure(2.15 * places + 0.9 if places > 1 else 3.9, 2.55 * lines if places > 1 else 3.1)
    grid = figure.subplots(lines, places, squeeze=False)
    for axes in grid.flat[len(matrices) :]:
        axes.remove()
    used = list(grid.flat[: len(matrices)])
    shown = [_draw(axes, *item) for axes, item in zip(used, matrices.items(), strict=True)]
    for line in grid[:, 0]:
        line.set_ylabel("latent")
    bar = figure.colorbar(shown[0], ax=used, label="|covariance|, scaled", ticks=[0, 0.5, 1], aspect=22, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return finish(figure)


def _scaled(covariance: object, what: str) -> xr.DataArray:
    matrix = abs(require_array(covariance, DIMS, what))
    if matrix.sizes["latent"] != matrix.sizes["latent_"]:
        raise UserError(f"{what}: got sizes {matrix.shape}, expected a square matrix (latent, latent_)")
    largest = float(matrix.max())
    return matrix / largest if largest > 0 else matrix


def _draw(axes: Axes, name: str, matrix: xr.DataArray) -> AxesImage:
    names = coordinate(matrix, "latent")
    image = axes.imshow(matrix.values, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    label = FuncFormatter(lambda at, _: str(names[round(at)]) if 0 <= round(at) < len(names) else "")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, prune=None))
        axis.set_major_formatter(label)
    bare(axes).set(title=name, xlabel="latent")
    return image
