"""Draws of a model in a table, what they were given at the left."""

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.require import require_array
from ppvae.plots.style import finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles, tile_ticks

__all__ = ["plot_draws"]

DIMS = ("image", "draw", "channel", "row", "column")
WIDTH, TILE = 9.2, 0.72  # inches of a page, of the largest tile


@house_style()
def plot_draws(draws: xr.DataArray, beside: Mapping[str, xr.DataArray] | None = None) -> Figure:
    """A line an image, its draws to the right; left of them what is ``beside``, a column under each name.

    draws (image, draw, channel, row, column), beside (image, channel, row, column) each, all in [0, 1].
    UserError for other dims, or another number or shape of images.
    """
    drawn = require_array(draws, DIMS, "draws")
    left = {name: require_array(array, DIMS[:1] + DIMS[2:], name) for name, array in (beside or {}).items()}
    for name, array in left.items():
        if array.shape != (expected := drawn.isel(draw=0).shape):
            raise UserError(f"{name} is of shape {array.shape}; the draws are of images {expected}")
    columns = [array.drop_vars(array.coords).expand_dims("draw", 1) for array in (*left.values(), drawn.isel(draw=0))]
    inner = drawn.drop_vars(drawn.coords)
    tiles = xr.concat([*columns[:-1], inner], "draw").rename(image="line", draw="place")
    places, lines = tiles.sizes["place"], tiles.sizes["line"]
    side = min(TILE, WIDTH / places)
    figure = new_figure(side * places + 0.2, side * lines * tiles.sizes["row"] / tiles.sizes["column"] + 0.5)
    axes = figure.subplots()
    draw_tiles(axes, tiles)
    names = [*left, *["draws" if place == 0 and left else "" for place in range(drawn.sizes["draw"])]]
    axes.xaxis.tick_top()
    tile_ticks(axes, places=names)
    if left:
        axes.axvline(len(left) - 0.5, color="white", linewidth=5)
    return finish(figure)
