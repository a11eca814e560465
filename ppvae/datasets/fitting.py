"""Pictures of any shape brought to one size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.opening import NotAsAsked
from ppvae.errors import UserError, check_choice, check_whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Fit",
    "Resampling",
    "Size",
    "check_colour",
    "checked_size",
    "fitted",
    "fitted_pixels",
    "resized",
    "said_fit",
]

Fit = Literal["crop", "pad", "stretch"]
"""Of a picture of another shape: its central part, all of it with a border, or all of it with other proportions."""

Resampling = Literal["BILINEAR", "BOX"]

type Size = tuple[int, int]  # rows, columns


def said_fit(fit: Fit | None, border: str) -> str:
    """What a fit does to a picture, for a data set's name; nothing for None."""
    return {None: "", "crop": "cropped", "pad": f"padded with {border}", "stretch": "stretched"}[fit]


def check_colour(background: str | None) -> None:
    """UserError for what is no colour of Pillow's; None is none."""
    from PIL import ImageColor

    try:
        if background is not None:
            ImageColor.getrgb(background)
    except (ValueError, AttributeError, TypeError):
        raise UserError(
            f"background={background!r}: expected a colour such as white, black or '#ff8000', or null"
        ) from None


def checked_size(image_size: object) -> Size:
    """(rows, columns) of one number, for a square, or of two; UserError otherwise."""
    if isinstance(image_size, int) or not hasattr(image_size, "__len__"):
        check_whole("image_size", image_size, 1)
        return image_size, image_size
    if isinstance(image_size, str) or len(image_size) != 2:
        raise UserError(f"image_size={image_size}: expected a side, such as 64, or rows and columns, such as [48,64]")
    for number in image_size:
        check_whole("image_size", number, 1)
    rows, columns = image_size
    return int(rows), int(columns)


def fitted(
    image: "Image.Image", size: Size, fit: Fit | None, fill: object = 0, resampling: Resampling = "BILINEAR"
) -> "Image.Image":
    """The image at ``size``: as it is where that is its own, resized where only the scale differs, else by ``fit``.

    ``fill``: the border's colour in the image's mode, for ``pad``. NotAsAsked for another shape where ``fit`` is None.
    """
    (columns, rows), (down, across) = image.size, size
    if columns * down == rows * across:
        return resized(image, size, resampling)
    if fit is None:
        raise NotAsAsked(
            f"it has {rows} × {columns} pixels, rows × columns, and {down} × {across} is another shape: give image_size"
            f" of that shape, or fit={', '.join(get_args(Fit)[:-1])} or {get_args(Fit)[-1]}"
        )
    if fit == "stretch":
        return resized(image, size, resampling)
    return _cropped(image, size, resampling) if fit == "crop" else _padded(image, size, fill, resampling)


def fitted_pixels(pixels: Tensor, image_size: int | Sequence[int] | None, fit: Fit | None, colour: str) -> Tensor:
    """Images (N, C, H, W), uint8 or float32, at that size, as ``fitted``, the border of that ``colour``; None: as they
    are.

    Errors: :class:`~ppvae.errors.UserError` for a size or fit that cannot be, and for another shape where ``fit`` is
    None.
    """
    if image_size is None:
        if fit is not None:
            raise UserError(f"fit={fit} and no image_size: expected the rows and columns to fit into, such as [48,64]")
        return pixels
    if fit is not None:
        check_choice("fit", fit, get_args(Fit))
    size = checked_size(image_size)
    if size == tuple(pixels.shape[2:]):
        return pixels
    fills = _fills(colour, pixels)
    try:
        return torch.stack([_fitted_image(image, size, fit, fills) for image in pixels.numpy()])
    except NotAsAsked as error:
        raise UserError(f"image_size={image_size}: of these images {error}") from None


def _fills(colour: str, pixels: Tensor) -> list[float]:
    """The colour in each channel's numbers; a grey one where there are neither one nor three."""
    from PIL import ImageColor

    levels = ImageColor.getrgb(colour)[:3] if pixels.shape[1] == 3 else [ImageColor.getcolor(colour, "L")]
    scaled = [level / 255 if pixels.is_floating_point() else level for level in levels]
    return scaled if pixels.shape[1] == 3 else scaled * pixels.shape[1]


def _fitted_image(image: np.ndarray, size: Size, fit: Fit | None, fills: Sequence[float]) -> Tensor:
    """Each channel (H, W) by itself, which for a linear filter is the whole."""
    from PIL import Image

    bands = [fitted(Image.fromarray(band), size, fit, fill) for band, fill in zip(image, fills, strict=True)]
    return torch.from_numpy(np.stack([np.asarray(band) for band in bands]))


def resized(
    image: "Image.Image", size: Size, resampling: Resampling, box: tuple[float, float, float, float] | None = None
) -> "Image.Image":
    """The part in ``box`` (left, top, right, bottom) at ``size``; each new pixel averages the area that it covers."""
    from PIL import Image

    return image.resize(size[::-1], Image.Resampling[resampling], box=box)


def _cropped(image: "Image.Image", size: Size, resampling: Resampling) -> "Image.Image":
    """The largest central part of that shape."""
    (columns, rows), (down, across) = image.size, size
    height, width = min(rows, columns * down / across), min(columns, rows * across / down)
    left, top = (columns - width) // 2, (rows - height) // 2
    return resized(image, size, resampling, (left, top, left + width, top + height))


def _padded(image: "Image.Image", size: Size, fill: object, resampling: Resampling) -> "Image.Image":
    """The whole, as large as fits, in the middle."""
    from PIL import Image

    (columns, rows), (down, across) = image.size, size
    scale = min(down / rows, across / columns)
    height, width = (min(most, max(1, round(length * scale))) for length, most in ((rows, down), (columns, across)))
    padded = Image.new(image.mode, (across, down), fill)
    padded.paste(resized(image, (height, width), resampling), ((across - width) // 2, (down - height) // 2))
    return padded
