"""What every network asks of an image shape."""

from collections.abc import Sequence

from ppvae.errors import UserError

__all__ = ["check_image_shape"]


def check_image_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, rows, columns) as a tuple of positive integers; UserError otherwise."""
    shape = tuple(int(size) for size in image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"image_shape is {shape}; expected (channels, rows, columns), all ≥ 1, such as (3, 64, 64)")
    return shape
