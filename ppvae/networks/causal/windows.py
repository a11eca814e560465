"""How far each layer of a causal network reaches, so that all of them together see a window of the past exactly."""

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

from ppvae.errors import UserError

__all__ = ["Reach", "Window", "reaches"]

type Window = Sequence[int] | None


class Reach(NamedTuple):
    """Rows upwards and columns to either side that a layer adds to what is seen, ``dilation`` pixels apart."""

    rows: int
    columns: int
    dilation: int = 1


def reaches(window: Window, layers: int, image_shape: tuple[int, int, int]) -> list[Reach]:
    """The reach of each layer for a ``window`` (height, width), or the full past where it is None.

    A window is the block of ``height`` rows directly above a pixel, ``width`` columns wide and centred on it, and
    (width − 1)/2 pixels to its left. The layers share it, the first ones having more. The full past takes layers of
    reach one with doubling dilation, which begins again where all of the image is seen.

    Errors: :class:`~ppvae.errors.UserError` for a window that is no such block of the image, or too few layers for the
    full past.
    Source: Chen et al. 2017 (VLAE), Sec. 3.1 and App. B, for the window.
    """
    _, rows, columns = image_shape
    if window is None:
        return _full_past(layers, max(rows, columns) - 1)
    height, width = _checked(window, rows, columns)
    return [Reach(*pair) for pair in zip(_shared(height, layers), _shared((width - 1) // 2, layers), strict=True)]


def _checked(window: Sequence[int], rows: int, columns: int) -> tuple[int, int]:
    expected = f"expected (height, width): a height of 0 to {rows} rows above, an odd width of 1 to {columns} columns"
    whole = not isinstance(window, str) and isinstance(window, Sequence) and len(window) == 2
    if not whole or any(isinstance(size, bool) or not isinstance(size, Integral) for size in window):
        raise UserError(f"window={window!r}: {expected}; or null for the full past")
    height, width = map(int, window)
    if not (0 <= height <= rows and 1 <= width <= columns and width % 2):
        raise UserError(f"window={[height, width]}: {expected}; or null for the full past")
    return height, width


def _shared(total: int, layers: int) -> list[int]:
    return [total // layers + (layer < total % layers) for layer in range(layers)]


def _full_past(layers: int, farthest: int) -> list[Reach]:
    dilations, seen = [1], 1
    while seen < farthest:
        dilations.append(2 * dilations[-1])
        seen += dilations[-1]
    if layers < len(dilations):
        least = len(dilations)
        raise UserError(f"layers={layers}: the full past of this image needs at least {least}; give these or a window")
    return [Reach(1, 1, dilations[layer % len(dilations)]) for layer in range(layers)]
