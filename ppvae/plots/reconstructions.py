"""Originals above their reconstructions (NGVAE paper, Fig. 2)."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.labels import number
from ppvae.plots.require import require_array
from ppvae.plots.style import finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles, tile_ticks

__all__ = ["plot_reconstructions"]

DIMS = ("image", "channel", "row", "column")


@house_style()
def plot_reconstructions(observed: xr.DataArray, reconstructed: xr.DataArray, *, max_images: int = 10) -> Figure:
    """The first images above what the model makes of them, with the root-mean-square error under each pair.

    Both arrays (image, channel, row, column) in [0, 1]; the error is per pixel and channel, in the same unit.
    UserError for other dims or two different shapes. Source: Fig. 2 of the NGVAE paper.
    """
    pairs = [require_array(observed, DIMS, "observed"), require_array(reconstructed, DIMS, "reconstructed")]
    if pairs[0].shape != pairs[1].shape:
        raise UserError(f"reconstructed: got shape {pairs[1].shape}, expected that of observed, {pairs[0].shape}")
    if max_images < 1:
        raise UserError(f"max_images: got {max_images}, expected 1 or more")
    originals, images = (array[:max_images].drop_vars(array.coords) for array in pairs)
    errors = np.sqrt(((images - originals) ** 2).mean(DIMS[1:])).values
    figure = _canvas(originals)
    axes = figure.subplots()
    draw_tiles(axes, xr.concat([originals, images], dim="line").rename(image="place"))
    tile_ticks(axes, lines=["original", "reconstruction"], places=[number(error, 2) for error in errors])
    axes.set_xlabel("root-mean-square error per pixel (grey levels in [0, 1])")
    return finish(figure)


def _canvas(images: xr.DataArray) -> Figure:
    count, (rows, columns) = images.sizes["image"], (images.sizes["row"], images.sizes["column"])
    tile = min(0.86, 8.6 / count) if count > 4 else 1.1
    return new_figure(max(tile * count, 2.4) + 1.1, 2 * tile * rows / columns + 0.5)
