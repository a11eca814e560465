"""Pictures of any shape brought to one size."""

from typing import TYPE_CHECKING, Literal, get_args

from ppvae.datasets.opening import NotAsAsked
from ppvae.errors import UserError, check_whole

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Fit", "Resampling", "Size", "checked_size", "fitted", "resized"]

Fit = Literal["crop", "pad", "stretch"]
"""Of a picture of another shape: its central part, all of it with a border, or all of it with other proportions."""

Resampling = Literal["BILINEAR", "BOX"]

type Size = tuple[int, int]  # rows, columns


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
    """The image at `size`: as it is where that is its own, resized where only the scale differs, else by `fit`.

    `fill`: the border's colour in the image's mode, for `pad`. NotAsAsked for another shape where `fit` is None.
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


def resized(
    image: "Image.Image", size: Size, resampling: Resampling, box: tuple[float, float, float, float] | None = None
) -> "Image.Image":
    """The part in `box` (left, top, right, bottom) at `size`; each new pixel averages the area that it covers."""
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
