"""One image file of a published set as a square of bytes."""

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.fitting import Resampling, resized
from ppvae.datasets.opening import opened_picture, reading_picture
from ppvae.datasets.picture_modes import byte_image

__all__ = ["decode"]


def decode(
    path: str,
    *,
    channels: int,
    image_size: int,
    crop: int | None = None,
    corner: tuple[int, int] | None = None,
    resampling: Resampling = "BILINEAR",
    inverted: bool = False,
) -> Tensor:
    """The central square of ``crop`` pixels (by default the shorter side), resized: uint8 (channels, size, size).

    ``corner``: its left and top, where it is not the central one.

    Resizing averages over the area that a new pixel covers, so that fine detail does not alias: with a triangle
    (``BILINEAR``) or evenly (``BOX``). ``inverted`` turns black on white into white on black.
    Errors: :class:`~ppvae.errors.UserError` for a file that is no opaque 8-bit image or is smaller than the crop.
    """
    with reading_picture(path):
        with opened_picture(path) as (file, _):
            image = byte_image(file, channels, background=None)
        side = crop or min(image.size)
        left, top = corner or ((length - side) // 2 for length in image.size)
        box = (left, top, left + side, top + side)
        pixels = np.array(resized(image, (image_size, image_size), resampling, box))
    tensor = torch.from_numpy(pixels).view(image_size, image_size, channels).permute(2, 0, 1)
    return (255 - tensor if inverted else tensor).contiguous()
