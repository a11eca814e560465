"""Two-dimensional codes by label (Levy's report, Fig. 6)."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.require import require_array
from ppvae.plots.style import FAINT, MUTED, finish, house_style, new_figure, shades

__all__ = ["plot_codes"]


@house_style()
def plot_codes(codes: Mapping[str, xr.DataArray], labels: xr.DataArray) -> Figure:
    """One panel a model: a dot an image, coloured by its label, with the circles that hold 50 % and 95 % of N(0, I).

    codes: name → (image, latent) with two latents; labels (image): integers, with attribute `values` naming them.
    Each panel has its own range, as the codes of different models may be orders of magnitude apart.
    UserError for other dims or another number of latents. Source: Levy, Fig. 6.
    """
    if not codes:
        raise UserError("codes: got none, expected at least one name with codes (image, latent)")
    arrays = {name: _planar(array, name) for name, array in codes.items()}
    kinds = np.unique(require_array(labels, ("image",), "labels").values)
    names = labels.attrs.get("values", list(range(int(kinds.max()) + 1)))
    figure = new_figure(2.9 * len(arrays) + 0.7, 3.1)
    panels = np.atleast_1d(figure.subplots(1, len(arrays)))
    for axes, (name, array) in zip(panels, arrays.items(), strict=True):
        for kind, colour in zip(kinds, shades(len(kinds), name="turbo", last=0.9), strict=True):
            chosen = array.values[labels.values == kind]
            axes.scatter(*chosen.T, s=5, color=colour, alpha=0.5, linewidths=0, label=str(names[kind]))
        _circles(axes)
        axes.set(title=name, xlabel="z0", aspect="equal", adjustable="datalim")
    panels[0].set_ylabel("z1")
    handles, shown = panels[0].get_legend_handles_labels()
    legend = figure.legend(handles, shown, loc="outside right center", frameon=False, markerscale=2.5)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    return finish(figure)


def _planar(codes: xr.DataArray, name: str) -> xr.DataArray:
    array = require_array(codes, ("image", "latent"), f"codes of {name!r}")
    if array.sizes["latent"] != 2:
        raise UserError(f"codes of {name!r}: got {array.sizes['latent']} latents, expected two")
    return array


def _circles(axes: Axes) -> None:
    angle = np.linspace(0, 2 * np.pi, 200)
    for share, colour in ((0.5, MUTED), (0.95, MUTED)):
        radius = np.sqrt(-2 * np.log(1 - share))
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=colour, linewidth=0.8, zorder=3)
    axes.grid(color=FAINT)
