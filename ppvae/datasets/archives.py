"""Images from any NumPy archive."""

from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr

from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.datasets.reading import reading
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError

__all__ = ["npz"]


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
    arrays = _arrays(path)
    if images not in arrays:
        raise UserError(f"{str(path)!r} has no array images={images!r}: name one of {', '.join(arrays) or 'none'}")
    if labels not in arrays and labels != "labels":
        raise UserError(f"{str(path)!r} has no array labels={labels!r}: name one of {', '.join(arrays)}")
    pixels = _channels_first(arrays.pop(images))
    factors = {("label" if name == labels else name): a for name, a in arrays.items() if _is_factor(a, len(pixels))}
    return selection.dataset(pixels, {name: _levels(array) for name, array in factors.items()}, Path(path).stem)


def _arrays(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The archive's arrays, but for those that would have to be unpickled."""
    arrays = {}
    remedy = "give an archive written by numpy.savez"
    with (
        reading(path, ".npz archive", remedy),
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        for name in archive.files:
            if not _is_pickled(archive, name):
                arrays[name] = archive[name]
    return arrays


def _is_pickled(archive: np.lib.npyio.NpzFile, name: str) -> bool:
    member = name if name in archive.zip.namelist() else f"{name}.npy"
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)[2].hasobject


def _channels_first(array: np.ndarray) -> np.ndarray:
    """(N, C, H, W), with zeros and ones as 0 and 255."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] <= 4 < array.shape[1]:
        array = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    if array.dtype == bool or (array.dtype == np.uint8 and array.size and array.max() == 1):
        array = array.astype(np.uint8) * np.uint8(255)
    return array


def _is_factor(array: np.ndarray, n: int) -> bool:
    return array.shape == (n,) and array.dtype.kind in "iu"


def _levels(numbers: np.ndarray) -> xr.DataArray:
    values, index = np.unique(numbers, return_inverse=True)
    return factor(index, values.tolist())
