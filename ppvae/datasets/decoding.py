"""One image file as a square of bytes."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ppvae.errors import UserError

__all__ = ["decode"]


def decode(
    path: str,
    *,
    channels: int,
    image_size: int,
    crop: int | None = None,
    resampling: Literal["BILINEAR", "BOX"] = "BILINEAR",
    inverted: bool = False,
) -> Tensor:
    """The central square of `crop` pixels (by default the shorter side), resized: uint8 (channels, size, size).

    Resizing averages over the area that a new pixel covers, so that fine detail does not alias: with a triangle
    (`BILINEAR`) or evenly (`BOX`). `inverted` turns black on white into white on black. Raises UserError for a file
    that is no 8-bit image or is smaller than the crop.
    """
    from PIL import Image, ImageOps  # torchvision's own reader; a second of import that not everybody needs

    try:
        with Image.open(path) as file:
            if file.mode.startswith(("I", "F")):
                raise ValueError(f"mode {file.mode} holds more than 8 bits a pixel; convert it")
            image = ImageOps.exif_transpose(file).convert("L" if channels == 1 else "RGB")
        side = crop or min(image.size)
        left, top = ((length - side) // 2 for length in image.size)
        box = (left, top, left + side, top + side)
        pixels = np.array(image.resize((image_size, image_size), Image.Resampling[resampling], box=box))
    except (OSError, ValueError, SyntaxError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{str(path)!r} cannot be read as an image ({reason}); mend, replace or remove it") from None
    tensor = torch.from_numpy(pixels).view(image_size, image_size, channels).permute(2, 0, 1)
    return (255 - tensor if inverted else tensor).contiguous()
