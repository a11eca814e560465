"""What a picture's mode says, as grey or red, green and blue: bytes, or real numbers where more was kept."""

import sys
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ppvae.datasets.opening import DEEP, NotAsAsked, image_of, is_deep, stored_as

if TYPE_CHECKING:
    from PIL import Image, ImageFile

__all__ = ["byte_image", "real_bands"]

_MOST = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;12": 4095, "L": 65535}  # by how they are stored
_TRANSPARENT = "it is transparent in places: background=white, or another colour, says on what it lies"
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's grey


def byte_image(file: "ImageFile.ImageFile", channels: int, background: str | None) -> "Image.Image":
    """Mode L for one channel, RGB for three, turned as its EXIF says; NotAsAsked for more than 8 bits a channel.

    What is transparent lies on the colour ``background``; NotAsAsked where there is such a pixel and no colour.
    """
    from PIL import ImageOps

    if is_deep(file):
        raise NotAsAsked(DEEP)
    image = ImageOps.exif_transpose(file)
    if image.has_transparency_data:
        image = _on(image, background)
    if image.mode == "LAB":
        image = image.convert("RGB")  # Pillow has no way from there to grey
    return image.convert("L" if channels == 1 else "RGB")


def real_bands(
    file: "ImageFile.ImageFile", opened: BinaryIO, channels: int, background: str | None
) -> list["Image.Image"]:
    """The channels, mode F each, in [0, 1]: 16-bit pixels over 65535, 8-bit ones over 255, floats as they are.

    Grey of colours is their luma. NotAsAsked for whole numbers of 32 bits, whose range no file says, for floats
    outside [0, 1], for 16 bits a channel that Pillow does not unpack, and as ``byte_image``.
    """
    from PIL import Image

    if not is_deep(file):
        parts = byte_image(file, channels, background).split()
        return [Image.fromarray(np.asarray(part, np.float32) / 255) for part in parts]
    grey = file.mode.startswith(("I", "F"))
    planes = _grey_plane(file)[None] if grey else _colour_planes(file, opened, background)
    if channels == 1 and len(planes) == 3:
        planes = np.tensordot(np.float32(_LUMA), planes, 1)[None]
    if channels == 3 and len(planes) == 1:
        planes = np.repeat(planes, 3, 0)
    bands = map(Image.fromarray, np.ascontiguousarray(planes, np.float32))
    exif = file.getexif()
    return [_turned(band, exif) for band in bands]


def _on(image: "Image.Image", background: str | None) -> "Image.Image":
    """RGB; composited only where a pixel is not opaque."""
    from PIL import Image, ImageColor

    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    image = image.convert("RGBA")
    if image.getextrema()[3][0] < 255:
        if background is None:
            raise NotAsAsked(_TRANSPARENT)
        colour = (*ImageColor.getrgb(background)[:3], 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, colour), image)
    return image.convert("RGB")


def _grey_plane(file: "ImageFile.ImageFile") -> np.ndarray:
    """float32 (rows, columns) in [0, 1]."""
    if "transparency" in file.info:
        raise NotAsAsked("one of its 16-bit grey levels is transparent; save it without")
    stored = next((one for one in stored_as(file) if one in _MOST), None)
    pixels = np.asarray(file)
    if file.mode == "F":
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise NotAsAsked(f"its floats are in {pixels.min():g}..{pixels.max():g}, expected [0, 1]; rescale them")
        return pixels.astype(np.float32)
    if stored is None:
        raise NotAsAsked(f"mode {file.mode} has no known range; save 16 bits or floats in [0, 1]")
    return (pixels.astype(np.float64) / _MOST[stored]).astype(np.float32)


def _colour_planes(file: "ImageFile.ImageFile", opened: BinaryIO, background: str | None) -> np.ndarray:
    """float32 (3, rows, columns) of 16 bits a channel, of which Pillow keeps the upper byte: read once for each."""
    from PIL import ImageColor

    stored = [one for one in stored_as(file) if isinstance(one, str)]
    if not {"RGB;16", "RGBA;16"}.intersection(one[:-1] for one in stored):
        raise NotAsAsked(f"of its 16 bits a channel ({', '.join(stored)}) 8 would be lost; save RGB or RGBA as PNG")
    upper = np.asarray(file, np.float32)
    opened.seek(0)
    with image_of(opened) as again:
        again.tile = [tile._replace(args=_other_byte(tile.args)) for tile in again.tile]
        lower = np.asarray(again, np.float32)
    planes = np.moveaxis((256 * upper + lower) / 65535, -1, 0)
    colours, alpha = planes[:3], planes[3:]
    if not len(alpha) or alpha.min() == 1:
        return colours
    if background is None:
        raise NotAsAsked(_TRANSPARENT)
    below = np.float32(ImageColor.getrgb(background)[:3])[:, None, None] / 255
    return colours * alpha + below * (1 - alpha)


def _other_byte(stored: object) -> object:
    """Pillow's word for the same pixels with the bytes of each channel in the other order."""
    if isinstance(stored, tuple):
        return (_other_byte(stored[0]), *stored[1:])
    little = stored.endswith("L") or (stored.endswith("N") and sys.byteorder == "little")
    return stored[:-1] + ("B" if little else "L")


def _turned(band: "Image.Image", exif: "Image.Exif") -> "Image.Image":
    """As the file's EXIF says."""
    from PIL import ImageOps

    band.getexif().update(exif)
    return ImageOps.exif_transpose(band)
