"""One image file as a square of bytes."""

import threading
import warnings
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from ppvae.errors import UserError, one_line
from ppvae.ordinary import open_ordinary

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = ["decode"]

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""What a file may hold, whatever it is called: nothing that another program would be started for, as for PostScript."""

MOST_PIXELS = 2**26
"""Of a file, 256 MiB decoded: below what Pillow warns of, the size of a bomb and not of a photograph."""

_WARNINGS = threading.Lock()  # their filters are one for all threads


def decode(
    path: str,
    *,
    channels: int,
    image_size: int,
    crop: int | None = None,
    corner: tuple[int, int] | None = None,
    resampling: Literal["BILINEAR", "BOX"] = "BILINEAR",
    inverted: bool = False,
) -> Tensor:
    """The central square of `crop` pixels (by default the shorter side), resized: uint8 (channels, size, size).

    `corner`: its left and top, where it is not the central one.

    Resizing averages over the area that a new pixel covers, so that fine detail does not alias: with a triangle
    (`BILINEAR`) or evenly (`BOX`). `inverted` turns black on white into white on black. Raises UserError for a file
    that is no 8-bit image or is smaller than the crop.
    """
    from PIL import Image, ImageOps  # torchvision's own reader; a second of import that not everybody needs

    try:
        with open_ordinary(path) as opened, _image(opened) as file:
            if file.width * file.height > MOST_PIXELS:
                raise ValueError(f"{file.width} × {file.height} pixels are more than {MOST_PIXELS}")
            if file.mode.startswith(("I", "F")):
                raise ValueError(f"mode {file.mode} holds more than 8 bits a pixel; convert it")
            image = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
        side = crop or min(image.size)
        left, top = corner or ((length - side) // 2 for length in image.size)
        box = (left, top, left + side, top + side)
        pixels = np.array(image.resize((image_size, image_size), Image.Resampling[resampling], box=box))
    except Exception as error:  # a decoder that meets bytes which nobody meant to write raises anything
        reason = one_line(error)
        raise UserError(f"{str(path)!r} cannot be read as an image ({reason}); mend, replace or remove it") from None
    tensor = torch.from_numpy(pixels).view(image_size, image_size, channels).permute(2, 0, 1)
    return (255 - tensor if inverted else tensor).contiguous()


def _image(file: BinaryIO) -> "ImageFile.ImageFile":
    """What Pillow makes of a file's header; its warning of a bomb is an error."""
    from PIL import Image

    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=FORMATS)
