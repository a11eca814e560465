"""The published dSprites file: 737 280 binary shapes with their generating factors."""

from os import PathLike

import numpy as np
import xarray as xr

from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.datasets.images import StoredImages
from ppvae.datasets.numpy_archives import Archive, numpy_archive
from ppvae.datasets.pixels import checked_pixels
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError

__all__ = ["dsprites"]

_FACTORS = {
    "color": {"long_name": "colour", "units": "1"},
    "shape": {"long_name": "shape: 1 square, 2 ellipse, 3 heart", "units": "1"},
    "scale": {"long_name": "size relative to the largest", "units": "1"},
    "orientation": {"long_name": "rotation", "units": "radian"},
    "posX": {"long_name": "horizontal position in the range of centres", "units": "1"},
    "posY": {"long_name": "vertical position in the range of centres", "units": "1"},
}
_ARRAYS = {
    "imgs": (np.uint8, (64, 64)),
    "latents_values": (np.floating, (len(_FACTORS),)),
    "latents_classes": (np.integer, (len(_FACTORS),)),
}
_LEVELS = 1000  # of a factor, at most; the published file has 40
_REMEDY = (
    "take dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz from the GitHub repository deepmind/dsprites-dataset"
    " and give its path"
)


def dsprites(
    path: str | PathLike[str],
    *,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """dSprites from its ``.npz`` file: images (N, 1, 64, 64), 0 or 1 (0 or 255 as stored), with their factors.

    Factors color, shape, scale, orientation, posX, posY, without those of a single level (color, in the published
    file). The pickled ``metadata`` is never read. The published file takes 3 GB of memory. Other arguments as for
    ``mnist``.
    Errors: :class:`~ppvae.errors.UserError` for a missing or corrupt file, and for arrays of another name, dtype or
    shape.
    Source: Matthey, Higgins, Hassabis, Lerchner, "dSprites: Disentanglement testing Sprites dataset", 2017.
    """
    selection = Selection(binarise, dequantise, size, seed)
    arrays = _read(path)
    images, classes, values = arrays["imgs"], arrays["latents_classes"], arrays["latents_values"]
    images *= 255
    columns = {name: k for k, name in enumerate(_FACTORS) if np.ptp(classes[:, k]) > 0}
    factors = {
        name: factor(classes[:, k].astype(np.int64), _level_values(classes[:, k], values[:, k]), **_FACTORS[name])
        for name, k in columns.items()
    }
    pixels = StoredImages(checked_pixels(images[:, None]), binary=True)
    return selection.dataset(pixels, xr.Dataset(factors, attrs={"title": "dSprites"}), "dsprites")


def _read(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The three arrays, checked; every fault is a UserError that names the path."""
    with numpy_archive(path, "the dSprites .npz", _REMEDY) as archive:
        if missing := sorted(set(_ARRAYS) - set(archive)):
            raise UserError(f"{str(path)!r} has no array {', '.join(missing)}: {_REMEDY}")
        _check_shapes(path, archive)
        arrays = archive.read(_ARRAYS)
    _check(path, arrays)
    return arrays


def _check_shapes(path: str | PathLike[str], archive: Archive) -> None:
    count = next(iter(archive["imgs"].shape), 0)
    for name, (kind, shape) in _ARRAYS.items():
        array = archive[name]
        if not np.issubdtype(array.dtype, kind) or array.shape != (count, *shape) or not count:
            wanted = f"{kind.__name__} {(count or 'N', *shape)} with at least one image"
            raise UserError(f"{str(path)!r}: {name} is {array.dtype} {array.shape}, expected {wanted}: {_REMEDY}")


def _check(path: str | PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    if arrays["imgs"].max() > 1:
        raise UserError(
            f"{str(path)!r}: imgs reaches {arrays['imgs'].max()}, expected binary images of 0 and 1: {_REMEDY}"
        )
    if arrays["latents_classes"].min() < 0 or not np.isfinite(arrays["latents_values"]).all():
        raise UserError(f"{str(path)!r}: negative latents_classes or non-finite latents_values: {_REMEDY}")
    if arrays["latents_classes"].max() >= _LEVELS:
        raise UserError(f"{str(path)!r}: latents_classes reach {arrays['latents_classes'].max()}, too many: {_REMEDY}")


def _level_values(classes: np.ndarray, values: np.ndarray) -> list[float]:
    """The value of every level; NaN for a level that no image of a shortened file has."""
    present, first = np.unique(classes, return_index=True)
    found = np.full(int(classes.max()) + 1, np.nan)
    found[present] = values[first]
    return found.tolist()
