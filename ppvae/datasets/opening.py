"""A picture's file, opened: which formats, how large, one frame, how deep."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from ppvae.datasets.zipped import open_picture_file
from ppvae.errors import UserError, one_line

if TYPE_CHECKING:
    from PIL import Image, ImageFile

__all__ = ["DEEP", "NotAsAsked", "image_of", "is_deep", "is_grey", "opened_picture", "reading_picture", "stored_as"]

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What a file may hold, whatever it is called: nothing that another program would be started for, as for PostScript."""

MOST_PIXELS = 2**26
"""Of a file, 256 MiB decoded: below what Pillow warns of, the size of a bomb and not of a photograph."""

DEEP = "it holds more than 8 bits a pixel: real=true keeps them, or convert it"

_WARNINGS = threading.Lock()  # their filters are one for all threads


class NotAsAsked(ValueError):
    """A sound picture that is not what was asked for; says what would take it."""


@contextmanager
def reading_picture(path: str) -> Iterator[None]:
    """UserError, one line with the path, for whatever reading a picture raises."""
    try:
        yield
    except NotAsAsked as error:
        raise UserError(f"{str(path)!r}: {error}") from None
    except Exception as error:  # a decoder that meets bytes which nobody meant to write raises anything
        reason = one_line(error)
        raise UserError(f"{str(path)!r} cannot be read as an image ({reason}); mend, replace or remove it") from None


@contextmanager
def opened_picture(path: str) -> Iterator[tuple["ImageFile.ImageFile", BinaryIO]]:
    """What Pillow makes of a file's header, and the file; NotAsAsked for several frames, ValueError for too many
    pixels."""
    with open_picture_file(path) as opened, image_of(opened) as file:
        if file.width * file.height > MOST_PIXELS:
            raise ValueError(f"{file.width} × {file.height} pixels are more than {MOST_PIXELS}")
        frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)  # a photograph, then views of it
        if frames > 1:
            raise NotAsAsked(f"it holds {frames} frames, expected one: save each as a picture")
        yield file, opened


def is_deep(file: "ImageFile.ImageFile") -> bool:
    """Whether the file holds more than the 8 bits a channel that Pillow would keep of it, or a mode of more."""
    if file.mode.startswith(("I", "F")):
        return True
    stored = stored_as(file)
    raw = any(isinstance(one, str) and (";16" in one or ";32" in one) for one in stored)
    return raw or (file.format == "PPM" and any(isinstance(one, int) and one > 255 for one in stored))


def stored_as(file: "Image.Image") -> list[object]:
    """How the file's pixels are stored, in Pillow's words and numbers."""
    arguments = [tile.args for tile in getattr(file, "tile", None) or ()]
    return [one for given in arguments for one in (given if isinstance(given, tuple) else (given,))]


def is_grey(image: "Image.Image") -> bool:
    """Whether no pixel can have a colour: a mode of grey levels, or a palette of them."""
    if any(isinstance(one, str) and one.startswith("LA;16") for one in stored_as(image)):
        return True  # 16 bits of grey and alpha, which Pillow opens as RGBA
    if image.mode in ("P", "PA"):
        colours = bytes(image.getpalette("RGB") or ())
        return colours[::3] == colours[1::3] == colours[2::3]
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def image_of(file: BinaryIO) -> "ImageFile.ImageFile":
    """What Pillow makes of a file's header; its warning of a bomb is an error."""
    from PIL import Image

    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=FORMATS)
