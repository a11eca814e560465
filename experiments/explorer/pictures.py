"""Images as a browser shows them: PNG in the page itself, many in one."""

import base64
import io
from math import ceil
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["Sheet", "data_url", "pixels_of", "png", "sheet", "thumbnails"]

WIDEST = 8192  # pixels of a sheet, which every browser draws


class Sheet(NamedTuple):
    """Many images as one PNG: its data: address, the pixels of a tile (width, height), how many stand in a row."""

    url: str
    width: int
    height: int
    columns: int


def pixels_of(images: Tensor) -> np.ndarray:
    """Images (..., C, H, W) in [0, 1] → uint8 (..., H, W) of one channel, (..., H, W, 3) of three; of another number
    the channels side by side, (..., H, C · W)."""
    pixels = (images.clamp(0, 1) * 255).round().byte().cpu().numpy()
    channels = pixels.shape[-3]
    if channels == 3:
        return np.moveaxis(pixels, -3, -1)
    return np.moveaxis(pixels, -3, -2).reshape(*pixels.shape[:-3], pixels.shape[-2], -1)


def png(pixels: np.ndarray) -> bytes:
    """One image (H, W) or (H, W, 3), uint8."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "png")
    return file.getvalue()


def data_url(pixels: np.ndarray) -> str:
    """The image as an address that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def sheet(pixels: np.ndarray) -> Sheet:
    """Images (image, H, W) or (image, H, W, 3) as tiles of one, row by row."""
    count, height, width = pixels.shape[:3]
    columns = max(1, min(ceil((count * height / width) ** 0.5), WIDEST // width))
    rows = ceil(count / columns)
    tiles = np.zeros((rows * columns, *pixels.shape[1:]), np.uint8)
    tiles[:count] = pixels
    whole = tiles.reshape(rows, columns, *pixels.shape[1:]).swapaxes(1, 2)
    return Sheet(data_url(whole.reshape(rows * height, columns * width, *pixels.shape[3:])), width, height, columns)


def thumbnails(images: Tensor, most: int = 64) -> Tensor:
    """Images (image, C, H, W) of at most so many pixels a side."""
    share = most / max(images.shape[-2:])
    if share >= 1:
        return images
    size = [max(1, round(side * share)) for side in images.shape[-2:]]
    return interpolate(images, size=size, mode="area")
