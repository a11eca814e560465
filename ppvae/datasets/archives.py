"""Images from any NumPy archive."""

from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr

from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.datasets.numpy_archives import Archive, numpy_archive
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError

__all__ = ["npz"]

LISTED = 12  # arrays that an error names


def npz(
    path: str | PathLike[str],
    *,
    images: str = "images",
    labels: str = "labels",
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Images and factors of an `.npz` file, named after it.

    `images`: the array of (N, H, W), (N, H, W, C) or (N, C, H, W), C one to four: uint8 in 0..255, uint8 or bool
    zeros and ones, or floats in [0, 1]. `labels`: integers (N,), the factor `label`; may be missing. Every other
    integer array (N,) is a factor of its own name; a factor's levels are the different numbers that occur. Nothing
    is ever unpickled. Other arguments as for `mnist`. Raises UserError for a file or array that is missing or does
    not fit.
    """
    selection = Selection(binarise, dequantise, size, seed)
    arrays = _arrays(path, images, labels)
    pixels = _channels_first(arrays.pop(images))
    factors = {("label" if name == labels else name): _levels(array) for name, array in arrays.items()}
    return selection.dataset(pixels, factors, Path(path).stem)


def _arrays(path: str | PathLike[str], images: str, labels: str) -> dict[str, np.ndarray]:
    """The images and the factors; nothing else of the archive is read."""
    with numpy_archive(path, ".npz archive", "give an archive written by numpy.savez") as archive:
        if images not in archive:
            hint = ", as what is pickled is never read" if images in archive.pickled else ""
            raise UserError(f"{str(path)!r} has no array images={images!r}{hint}: name one of {_names(archive)}")
        if labels not in archive and labels != "labels":
            raise UserError(f"{str(path)!r} has no array labels={labels!r}: name one of {_names(archive)}")
        count = archive[images].shape[:1]
        factors = [name for name, header in archive.items() if header.shape == count and header.dtype.kind in "iu"]
        return archive.read(dict.fromkeys([images, *factors]))


def _names(archive: Archive) -> str:
    return ", ".join(list(archive)[:LISTED]) + ", …" * (len(archive) > LISTED) or "none"


def _channels_first(array: np.ndarray) -> np.ndarray:
    """(N, C, H, W), with zeros and ones as 0 and 255."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] <= 4 < array.shape[1]:
        array = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    if array.dtype == bool or (array.dtype == np.uint8 and array.size and array.max() == 1):
        array = array.astype(np.uint8) * np.uint8(255)
    return array


def _levels(numbers: np.ndarray) -> xr.DataArray:
    values, index = np.unique(numbers, return_inverse=True)
    return factor(index, values.tolist())
