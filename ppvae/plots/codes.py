"""Two-dimensional codes by label (Levy's report, Fig. 6)."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ppvae.errors import UserError
from ppvae.plots.colours import Colours, distinct
from ppvae.plots.labels import latent_names
from ppvae.plots.require import require_array
from ppvae.plots.style import MUTED, finish, house_style, new_figure

__all__ = ["plot_codes"]

PER_LINE = 4
LEGEND_LINES = 14  # that fit beside one line of panels


@house_style()
def plot_codes(codes: Mapping[str, xr.DataArray], labels: xr.DataArray) -> Figure:
    """One panel a model: a dot an image, coloured by its label, with the circles that hold 50 % and 95 % of N(0, I).

    codes: name → (image, latent) with two latents, whatever that dim is called; labels (image): integers, with
    attribute ``values`` naming them.
    Each panel has its own range, as the codes of different models may be orders of magnitude apart. Dots are drawn in
    random order, so that no label covers the others.
    UserError for other dims, another number of latents, or labels that do not fit the codes. Source: Levy, Fig. 6.
    """
    if not codes:
        raise UserError("codes: got none, expected at least one name with codes (image, latent)")
    arrays = {name: _planar(array, name) for name, array in codes.items()}
    names, place = _levels(require_array(labels, ("image",), "labels"))
    for name, array in arrays.items():
        if array.sizes["image"] != len(place):
            raise UserError(f"codes of {name!r}: got {array.sizes['image']} images, expected {len(place)}, as labels")
    colours = distinct(len(names))
    places, lines = min(len(arrays), PER_LINE), -(-len(arrays) // PER_LINE)
    figure = new_figure(2.9 * places + 0.7, 3.1 * lines)
    grid = figure.subplots(lines, places, squeeze=False)
    for axes in grid.flat[len(arrays) :]:
        axes.remove()
    for axes, (name, array) in zip(grid.flat, arrays.items(), strict=False):
        _draw(axes, array, [colours[k] for k in place])
        axes.set_title(name)
    _legend(figure, names, colours, columns=-(-len(names) // (LEGEND_LINES * lines)))
    return finish(figure)


def _planar(codes: xr.DataArray, name: str) -> xr.DataArray:
    dims = codes.dims if isinstance(codes, xr.DataArray) and codes.ndim == 2 and "image" in codes.dims else ()
    own = next((dim for dim in dims if dim != "image"), "latent")
    array = require_array(codes, ("image", own), f"codes of {name!r}").rename(
        {own: "latent"} if own != "latent" else {}
    )
    if array.sizes["latent"] != 2:
        raise UserError(f"codes of {name!r}: got {array.sizes['latent']} latents, expected two")
    return array


def _levels(labels: xr.DataArray) -> tuple[list[str], np.ndarray]:
    """Names of the labels that occur, and for each image which of them it has."""
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UserError(f"labels: got {labels.dtype} from {labels.values.min()}, expected integers from 0 up")
    kinds, place = np.unique(labels.values, return_inverse=True)
    names = labels.attrs.get("values", range(int(kinds.max()) + 1))
    if kinds.max() >= len(names):
        raise UserError(f"labels: got {kinds.max()}, expected less than {len(names)}, the number of their names")
    return [str(names[kind]) for kind in kinds], place


def _draw(axes: Axes, codes: xr.DataArray, colours: Colours) -> None:
    order = np.random.default_rng(0).permutation(len(colours))
    axes.grid()
    axes.scatter(*codes.values[order].T, s=5, c=[colours[k] for k in order], alpha=0.5, linewidths=0)
    angle = np.linspace(0, 2 * np.pi, 200)
    for share in (0.5, 0.95):
        radius = np.sqrt(-2 * np.log(1 - share))
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=MUTED, linewidth=0.8, zorder=3)
    across, up = latent_names(codes)
    axes.set(xlabel=across, ylabel=up, aspect="equal", adjustable="datalim")


def _legend(figure: Figure, names: Sequence[str], colours: Colours, columns: int) -> None:
    dots = [Line2D([], [], linestyle="", marker="o", markersize=6, markeredgewidth=0, color=c) for c in colours]
    figure.legend(
        dots, names, loc="outside right center", frameon=False, ncols=columns, handletextpad=0.2, columnspacing=0.8
    )
