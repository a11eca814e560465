"""The shape of a hierarchy in one line, such as "4x4:5 8x8:10": from the top, the maps' sizes and how many groups."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ppvae.errors import UserError, check_whole

__all__ = ["Scale", "groups_per_scale", "padded_size", "read_hierarchy", "widths_of"]

EXAMPLE = 'expected scales from the top, as "4x4:5 8x8:10", rows x columns : groups'
ENTRY = re.compile(r"(\d+)x(\d+):(\d+)")


class Scale(NamedTuple):
    """So many groups of latents on maps of one size."""

    rows: int
    columns: int
    groups: int


def read_hierarchy(hierarchy: str) -> tuple[Scale, ...]:
    """The scales of "4x4:5 8x8:10", top first.

    Errors: :class:`~ppvae.errors.UserError` for what is no such line, sizes or groups below one, a scale that is not
    larger than the one above it, or whose size is no multiple of it, the same for rows and columns.
    """
    if not isinstance(hierarchy, str) or not hierarchy.split():
        raise UserError(f"hierarchy={hierarchy!r}: {EXAMPLE}")
    scales = tuple(_scale(hierarchy, entry) for entry in hierarchy.split())
    for above, below in pairwise(scales):
        where = f"hierarchy={hierarchy!r}: {below.rows}x{below.columns} after {above.rows}x{above.columns}"
        if below.rows <= above.rows or below.columns <= above.columns:
            raise UserError(f"{where} is not larger; give the scales from the top, the smallest first, each once")
        if below.rows % above.rows or below.columns % above.columns:
            raise UserError(f"{where} is no multiple of it; give sizes that divide, such as 4x4 8x8 16x16")
        if below.rows // above.rows != below.columns // above.columns:
            raise UserError(f"{where} grows unlike in rows and columns; give both the same factor")
    return scales


def _scale(hierarchy: str, entry: str) -> Scale:
    match = ENTRY.fullmatch(entry)
    if match is None or not all(int(number) for number in match.groups()):
        raise UserError(f"hierarchy={hierarchy!r}: {entry!r}: {EXAMPLE}")
    return Scale(*map(int, match.groups()))


def groups_per_scale(finest: int, scales: int, least: int = 1) -> tuple[int, ...]:
    """Groups of each scale, top first: ``finest`` at the last, half as many (rounded down) at each one above it, and
    never fewer than ``least``. (20, 3) → (5, 10, 20). Source: Vahdat and Kautz 2020 (NVAE), Table 6.
    """
    for name, value in (("finest", finest), ("scales", scales), ("least", least)):
        check_whole(name, value, 1)
    return tuple(max(least, finest // 2**above) for above in reversed(range(scales)))


def widths_of(scales: Sequence[Scale], channels: int, widening: int) -> tuple[int, ...]:
    """Channels of each scale: ``channels`` at the finest, ``widening`` times as many for each doubling above it."""
    check_whole("channels", channels, 1)
    check_whole("widening", widening, 1)
    widths = [channels]
    for above, below in reversed(list(pairwise(scales))):
        widths.append(widths[-1] * widening ** ((below.rows // above.rows).bit_length() - 1))
    return tuple(reversed(widths))


def padded_size(scale: Scale, image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(rows, columns, halvings): the smallest size that holds the image and is the scale's, doubled so many times.

    28 × 28 images over a scale of 8 × 8 are padded to 32 × 32, two halvings away.
    Errors: :class:`~ppvae.errors.UserError` for a scale larger than the image, or images of another proportion.
    """
    (_, height, width), halvings = image_shape, 0
    if scale.rows > height or scale.columns > width:
        raise UserError(
            f"the hierarchy's finest scale, {scale.rows}x{scale.columns}, is larger than the images, {height}x{width}; "
            "give smaller scales"
        )
    while scale.rows * 2**halvings < height or scale.columns * 2**halvings < width:
        halvings += 1
    rows, columns = scale.rows * 2**halvings, scale.columns * 2**halvings
    if rows >= 2 * height or columns >= 2 * width:
        raise UserError(
            f"images of {height}x{width} over a scale of {scale.rows}x{scale.columns} would be padded to "
            f"{rows}x{columns}; give scales of the images' proportion"
        )
    return rows, columns, halvings
