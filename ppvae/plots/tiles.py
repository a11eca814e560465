"""A table of small pictures in one pair of axes."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ppvae.errors import UserError
from ppvae.plots.style import FAINT, bare

__all__ = ["draw_tiles", "tile_ticks"]

PICTURE_DIMS = ("row", "column", "channel")


def draw_tiles(axes: Axes, tiles: xr.DataArray, *, gap: float = 0.06) -> None:
    """Draws tiles (line, place, channel, row, column) in [0, 1]: line 0 on top, place 0 at the left.

    The tile of a line and place fills the unit square around (place, line) but for the gap; values outside [0, 1]
    are cut off. UserError unless there are one or three channels.
    """
    if tiles.sizes["channel"] not in (1, 3):
        raise UserError(f"images: got {tiles.sizes['channel']} channels, expected 1 (grey) or 3 (red, green, blue)")
    pictures = tiles.transpose("line", "place", *PICTURE_DIMS).values.clip(0, 1)
    lines, places, rows, columns = pictures.shape[:4]
    for line, place in np.ndindex(lines, places):
        _draw_tile(axes, pictures[line, place], place, line, gap)
    bare(axes).set(xlim=(-0.5, places - 0.5), ylim=(lines - 0.5, -0.5), aspect=rows / columns)


def _draw_tile(axes: Axes, picture: np.ndarray, place: int, line: int, gap: float) -> None:
    half = (1 - gap) / 2
    extent = (place - half, place + half, line + half, line - half)
    shown = picture[..., 0] if picture.shape[-1] == 1 else picture
    axes.imshow(shown, extent=extent, cmap="gray", vmin=0, vmax=1, aspect="auto")
    corner, side = (place - half, line - half), 2 * half
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=FAINT, linewidth=0.6))


def tile_ticks(axes: Axes, *, lines: list[str] | None = None, places: list[str] | None = None) -> None:
    """Names beside the lines and under the places."""
    axes.set_yticks(range(len(lines or [])), lines or [])
    axes.set_xticks(range(len(places or [])), places or [])
