"""Images redrawn in the style of others: the global code of the one, the local code of the other."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.require import require_array
from ppvae.plots.style import finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles

__all__ = ["plot_style_transfer"]

DIMS = ("style", "image", "channel", "row", "column")
TILE = 0.62  # inches


@house_style()
def plot_style_transfer(transferred: xr.DataArray, images: xr.DataArray, styles: xr.DataArray) -> Figure:
    """The images on top, the styles at the left, and at each crossing the image redrawn in the style.

    transferred (style, image, channel, row, column), as from ``transfer_style``; images (image, channel, row, column)
    and styles (style, channel, row, column), all in [0, 1]. UserError for other dims or numbers of images.
    """
    inner = require_array(transferred, DIMS, "transferred")
    top = require_array(images, DIMS[1:], "images")
    left = require_array(styles, ("style", *DIMS[2:]), "styles")
    sizes = inner.sizes["style"], inner.sizes["image"]
    if (left.sizes["style"], top.sizes["image"]) != sizes:
        raise UserError(f"transferred is of {sizes} styles and images; got {len(left)} styles and {len(top)} images")
    tiles = np.ones((sizes[0] + 1, sizes[1] + 1, *inner.shape[2:]))
    tiles[1:, 1:], tiles[0, 1:], tiles[1:, 0] = inner, top, left
    figure = new_figure(TILE * tiles.shape[1] + 0.7, TILE * tiles.shape[0] * tiles.shape[3] / tiles.shape[4] + 0.6)
    axes = figure.subplots()
    draw_tiles(axes, xr.DataArray(tiles, dims=("line", "place", *DIMS[2:])))
    axes.set(xticks=[], yticks=[], xlabel="top row: images, whose z_global is taken")
    axes.set_ylabel("left column: styles, whose z_local is taken")
    axes.axhline(0.5, color="white", linewidth=5)
    axes.axvline(0.5, color="white", linewidth=5)
    return finish(figure)
