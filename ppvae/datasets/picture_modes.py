"""What a picture's mode says, as grey or red, green and blue: bytes, or real numbers where more was kept."""

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ppvae.datasets.opening import DEEP, NotAsAsked, is_deep

if TYPE_CHECKING:
    from PIL import Image, ImageFile

__all__ = ["byte_image", "real_bands"]

_MOST = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;12": 4095, "L": 65535}  # by how they are stored
_TRANSPARENT = "it is transparent in places: background=white, or another colour, says on what it lies"
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's grey


def byte_image(file: "ImageFile.ImageFile", channels: int, background: str | None) -> "Image.Image":
    """Mode L for one channel, RGB for three, turned as its EXIF says; NotAsAsked for more than 8 bits a channel.

    What is transparent lies on the colour `background`; NotAsAsked where there is such a pixel and no colour.
    """
    from PIL import ImageOps

    if is_deep(file):
        raise NotAsAsked(DEEP)
    image = ImageOps.exif_transpose(file)
    if image.has_transparency_data:
        image = _on(image, background)
    return image.convert("L" if channels == 1 else "RGB")


def real_bands(
    file: "ImageFile.ImageFile", opened: BinaryIO, channels: int, background: str | None
) -> list["Image.Image"]:
    """The channels, mode F each, in [0, 1]: 16-bit pixels over 65535, 8-bit ones over 255, floats as they are.

    Grey of colours is their luma. NotAsAsked for whole numbers of 32 bits, whose range no file says, for floats
    outside [0, 1], for 16 bits a channel in a format other than PNG, and as `byte_image`.
    """
    from PIL import Image

    if not is_deep(file):
        parts = byte_image(file, channels, background).split()
        return [Image.fromarray(np.asarray(part, np.float32) / 255) for part in parts]
    grey = file.mode.startswith(("I", "F"))
    planes = _grey_plane(file)[None] if grey else _planes_of_png(file, opened, background)
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
    stored = next((one for one in _stored(file) if one in _MOST), None)
    pixels = np.asarray(file)
    if file.mode == "F":
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise NotAsAsked(f"its floats are in {pixels.min():g}..{pixels.max():g}, expected [0, 1]; rescale them")
        return pixels.astype(np.float32)
    if stored is None:
        raise NotAsAsked(f"mode {file.mode} has no known range; save 16 bits or floats in [0, 1]")
    return (pixels.astype(np.float64) / _MOST[stored]).astype(np.float32)


def _planes_of_png(file: "ImageFile.ImageFile", opened: BinaryIO, background: str | None) -> np.ndarray:
    """float32 (1 or 3, rows, columns) of 16 bits a channel, of which Pillow would keep 8."""
    if file.format != "PNG":
        raise NotAsAsked(f"of 16 bits a channel in {file.format} files the lower 8 would be lost; save it as PNG")
    import torch
    from PIL import ImageColor
    from torchvision.io import ImageReadMode, decode_png

    opened.seek(0)
    content = torch.frombuffer(bytearray(opened.read()), dtype=torch.uint8)
    planes = decode_png(content, ImageReadMode.UNCHANGED).numpy().astype(np.float32) / 65535
    if len(planes) in (1, 3):
        return planes
    colours, alpha = planes[:-1], planes[-1:]
    if alpha.min() == 1:
        return colours
    if background is None:
        raise NotAsAsked(_TRANSPARENT)
    below = np.float32(ImageColor.getrgb(background)[:3])[:, None, None] / 255
    return colours * alpha + below * (1 - alpha)


def _stored(file: "ImageFile.ImageFile") -> list[object]:
    """How the file's pixels are stored, in Pillow's words."""
    return [one for tile in file.tile for one in (tile.args if isinstance(tile.args, tuple) else (tile.args,))]


def _turned(band: "Image.Image", exif: "Image.Exif") -> "Image.Image":
    """As the file's EXIF says."""
    from PIL import ImageOps

    band.getexif().update(exif)
    return ImageOps.exif_transpose(band)
