"""What each latent does to the image when it alone moves."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ppvae.plots.labels import coordinate, latent_names
from ppvae.plots.require import require_array
from ppvae.plots.style import finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles, tile_ticks

__all__ = ["plot_traversals"]

DIMS = ("latent", "step", "channel", "row", "column")
PER_LETTER = 0.08  # inches of a row's name


@house_style()
def plot_traversals(traversal: xr.DataArray) -> Figure:
    """One row a latent, in the given order, one column a value of z, all other latents held.

    traversal (latent, step, channel, row, column) in [0, 1]; its ``step`` coordinate is the value of z, or a ``value``
    coordinate (latent, step) says that each latent has a range of its own; a ``kl`` coordinate or attribute (latent),
    nats per image, is printed beside the latent's name. UserError for other dims.
    """
    images = require_array(traversal, DIMS, "traversal")
    lines, places = images.sizes["latent"], images.sizes["step"]
    tile = min(0.74, 8.6 / places)
    names = _row_names(images)
    beside = 0.4 + PER_LETTER * max(map(len, names))
    figure = new_figure(tile * places + beside, tile * lines * images.sizes["row"] / images.sizes["column"] + 0.6)
    axes = figure.subplots()
    draw_tiles(axes, images.drop_vars(images.coords).rename(latent="line", step="place"))
    tile_ticks(axes, lines=names, places=_column_names(images))
    own_ranges = "value" in images.coords
    axes.set_xlabel("each latent from low to high in its codes' range" if own_ranges else "value of the latent z")
    return finish(figure)


def _row_names(images: xr.DataArray) -> list[str]:
    names = latent_names(images)
    kl = images.coords["kl"].values if "kl" in images.coords else images.attrs.get("kl")
    if kl is None or np.shape(kl) != (len(names),):
        return names
    return [f"{name} · KL {value:.1f}" for name, value in zip(names, np.asarray(kl, dtype=float), strict=True)]


def _column_names(images: xr.DataArray) -> list[str]:
    if "value" in images.coords:
        return ["low", *[""] * (images.sizes["step"] - 2), "high"][: images.sizes["step"]]
    return [_signed(value) for value in coordinate(images, "step")]


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−") if abs(value) >= 0.05 else "0"
