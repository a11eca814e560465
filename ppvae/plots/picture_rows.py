"""Rows of named pictures: what groups keep of an image, what temperatures draw, what lies between images."""

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.plots.labels import coordinate, tick
from ppvae.plots.require import require_array
from ppvae.plots.style import finish, house_style, new_figure
from ppvae.plots.tiles import draw_tiles, tile_ticks

__all__ = ["plot_interpolations", "plot_kept_groups", "plot_temperatures"]

PIXELS = ("channel", "row", "column")
WIDTH, TILE = 8.6, 0.74  # inches of a page beside the names, of the largest tile


@house_style()
def plot_kept_groups(kept: xr.DataArray, image: xr.DataArray | None = None) -> Figure:
    """A row for each number of groups kept, from none on top to all; its draws to the right, the image at the left.

    kept (kept, draw, channel, row, column), as from ``keep_groups``, image (channel, row, column), all in [0, 1].
    UserError for other dims, or an image of another shape.
    """
    drawn = require_array(kept, ("kept", "draw", *PIXELS), "kept")
    lines = [_kept(*pair) for pair in zip(coordinate(drawn, "kept"), _lowest(drawn), strict=True)]
    tiles = drawn.drop_vars(drawn.coords).rename(kept="line", draw="place")
    places = [""] * tiles.sizes["place"]
    if image is not None:
        first = require_array(image, PIXELS, "image")
        if first.shape != tiles.shape[2:]:
            raise UserError(f"image is of shape {first.shape}; the draws are of images {tiles.shape[2:]}")
        column = first.drop_vars(first.coords).expand_dims(line=tiles.sizes["line"], place=1)
        tiles, places = xr.concat([column, tiles], "place"), ["image", "draws", *places[1:]]
    return _rows(tiles, lines, places, apart=image is not None)


@house_style()
def plot_temperatures(samples: Mapping[float, xr.DataArray]) -> Figure:
    """A row for each temperature, under which the same noise draws the images of a column.

    samples: temperature → (draw, channel, row, column) in [0, 1], as from ``draw_images``, all of one shape.
    UserError for none, other dims or different shapes.
    """
    rows = {f"t = {tick(t)}": require_array(one, ("draw", *PIXELS), f"{t}") for t, one in samples.items()}
    if len({row.shape for row in rows.values()}) != 1:
        shapes = sorted({row.shape for row in rows.values()})
        raise UserError(f"samples: got shapes {shapes}, expected one or more rows of one shape")
    tiles = xr.concat([row.drop_vars(row.coords).rename(draw="place") for row in rows.values()], "line")
    return _rows(tiles, list(rows), [""] * tiles.sizes["place"])


@house_style()
def plot_interpolations(paths: xr.DataArray) -> Figure:
    """A row for each path from one image, at the left, to another, at the right.

    paths (path, step, channel, row, column) in [0, 1], or one path without the first dim, as from ``interpolate``; the
    coordinate ``path`` names the rows. UserError for other dims.
    """
    paths = paths.expand_dims("path") if isinstance(paths, xr.DataArray) and "path" not in paths.dims else paths
    drawn = require_array(paths, ("path", "step", *PIXELS), "paths")
    lines = [str(name) for name in coordinate(drawn, "path")] if "path" in drawn.coords else []
    tiles = drawn.drop_vars(drawn.coords).rename(path="line", step="place")
    last = tiles.sizes["place"] - 1
    return _rows(tiles, lines, ["one image" if k == 0 else "another" if k == last else "" for k in range(last + 1)])


def _lowest(kept: xr.DataArray) -> list[str]:
    return list(kept["lowest"].values) if "lowest" in kept.coords else [""] * kept.sizes["kept"]


def _kept(count: int, lowest: str) -> str:
    if not count:
        return "none kept"
    return f"{count} kept, to {lowest}" if lowest else f"{count} kept"


def _rows(tiles: xr.DataArray, lines: list[str], places: list[str], apart: bool = False) -> Figure:
    """Tiles (line, place, channel, row, column) under names of both; a gap behind the first place if ``apart``."""
    side = min(TILE, WIDTH / tiles.sizes["place"])
    height = side * tiles.sizes["line"] * tiles.sizes["row"] / tiles.sizes["column"]
    figure = new_figure(side * tiles.sizes["place"] + (1.2 if lines else 0.2), height + 0.5)
    axes = figure.subplots()
    draw_tiles(axes, tiles)
    axes.xaxis.tick_top()
    tile_ticks(axes, lines=lines, places=places)
    if apart:
        axes.axvline(0.5, color="white", linewidth=5)
    return finish(figure)
