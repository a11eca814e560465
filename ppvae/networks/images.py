"""What every network asks of its sizes."""

from collections.abc import Sequence

from ppvae.errors import UserError, check_whole

__all__ = ["check_image_shape", "check_widths"]


def check_image_shape(image_shape: Sequence[int], name: str = "image_shape") -> tuple[int, int, int]:
    """(channels, rows, columns) as a tuple of positive integers; UserError otherwise."""
    try:
        shape = check_widths(name, image_shape)
    except UserError:
        shape = ()
    if len(shape) != 3:
        raise UserError(f"{name} is {image_shape}; expected (channels, rows, columns), all ≥ 1, as in (3, 64, 64)")
    return shape


def check_widths(name: str, widths: Sequence[int], *, least: int = 1) -> tuple[int, ...]:
    """``least`` or more whole numbers ≥ 1 as a tuple; UserError otherwise."""
    if isinstance(widths, str | int | None) or len(widths) < least:
        raise UserError(f"{name}={widths!r}: expected a list of whole numbers, such as [400]")
    for width in widths:
        check_whole(name, width, 1)
    return tuple(int(width) for width in widths)
