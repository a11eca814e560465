"""How the pictures of a set are read: every one to the same shape, as was asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.fitting import Fit, Size, check_colour, checked_size, fitted, said_fit
from ppvae.datasets.opening import NotAsAsked, is_grey, opened_picture, reading_picture
from ppvae.datasets.picture_modes import byte_image, real_bands
from ppvae.datasets.transforms import check_not_random, named_transforms, transformed
from ppvae.errors import UserError, check_choice

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PictureReader", "picture_reader", "settled_reader"]


@dataclass(frozen=True)
class PictureReader:
    """A path to an image (channels, rows, columns): uint8, or for ``real`` float32 in [0, 1].

    In turn: turned as its EXIF says, laid on ``background`` where transparent, made grey or RGB, ``transforms``,
    brought to ``image_size`` by ``fit``. With ``grey_only`` a picture with colours is refused.
    Errors: :class:`~ppvae.errors.UserError` one line with the path, for a file that is no picture, holds several, or is
    not what was asked for.
    """

    channels: Literal[1, 3] | None
    image_size: Size | None = None
    fit: Fit | None = None
    background: str | None = None
    real: bool = False
    transforms: tuple[Callable[[Tensor], Tensor], ...] = ()
    grey_only: bool = False

    def __call__(self, path: str) -> Tensor:
        with reading_picture(path):
            bands = transformed(self._bands(path), self.transforms, real=self.real)
            size = self.image_size or bands[0].size[::-1]
            return _tensor([fitted(band, size, self.fit, self._fill(band)) for band in bands])

    @property
    def description(self) -> str:
        """What was done to the pictures, beyond reading and resizing; empty where that is nothing."""
        laid = "" if self.background is None else f"on {self.background}"
        made = [getattr(one, "__name__", type(one).__name__) for one in self.transforms]
        return ", ".join(said for said in (laid, *made, said_fit(self.fit, self.background or "black")) if said)

    def _bands(self, path: str) -> list["Image.Image"]:
        """One image of mode L or RGB, or the channels in mode F."""
        with opened_picture(path) as (file, opened):
            if self.grey_only and not is_grey(file):
                raise NotAsAsked("it has colours, the first picture has none: give channels=3, or 1 for grey of all")
            if self.real:
                return real_bands(file, opened, self.channels, self.background)
            return [byte_image(file, self.channels, self.background)]

    def _fill(self, band: "Image.Image") -> object:
        """The border's colour in the image's mode."""
        from PIL import ImageColor

        colour = ImageColor.getcolor(self.background or "black", "RGB" if band.mode == "RGB" else "L")
        return colour / 255 if band.mode == "F" else colour


def picture_reader(
    *,
    image_size: int | Sequence[int] | None = None,
    fit: Fit | None = None,
    channels: Literal[1, 3] | None = None,
    background: str | None = None,
    real: bool = False,
    transforms: Sequence[object] = (),
) -> PictureReader:
    """The reader that was asked for; UserError, before any file is looked at, for what is none of the choices."""
    if fit is not None:
        check_choice("fit", fit, get_args(Fit))
    if channels is not None:
        check_choice("channels", str(channels), ("1", "3"))
    size = None if image_size is None else checked_size(image_size)
    if fit is not None and size is None:
        raise UserError(f"fit={fit} and no image_size: expected the rows and columns to fit into, such as [48,64]")
    if real not in (True, False):
        raise UserError(f"real={real!r}: expected true, real numbers in [0, 1], or false, 256 levels")
    check_colour(background)
    return PictureReader(channels, size, fit, background, real, named_transforms(transforms))


def settled_reader(reader: PictureReader, first: str) -> tuple[PictureReader, tuple[int, int, int]]:
    """The reader with what was left open as in the ``first`` picture, and the shape of its images.

    Errors: :class:`~ppvae.errors.UserError` for whatever reading that picture raises, and for transforms that draw
    random numbers.
    """
    if reader.channels is None:
        with reading_picture(first):
            grey = _grey(first)
        reader = replace(reader, channels=1 if grey else 3, grey_only=grey)
    if reader.transforms:
        check_not_random(reader.transforms, lambda: reader(first))
    channels, rows, columns = reader(first).shape
    return replace(reader, image_size=(rows, columns)), (channels, rows, columns)


def _grey(path: str) -> bool:
    with opened_picture(path) as (file, _):
        return is_grey(file)


def _tensor(bands: list["Image.Image"]) -> Tensor:
    """(channels, rows, columns)."""
    arrays = [np.array(band) for band in bands]
    if len(arrays) == 1 and arrays[0].dtype == np.uint8:
        tensor = torch.from_numpy(arrays[0])
        return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()
    return torch.from_numpy(np.stack(arrays)).clamp_(0, 1)
