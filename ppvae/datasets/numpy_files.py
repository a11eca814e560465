"""Images in a .npy file, streamed from it."""

from os import PathLike
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from ppvae.datasets.columns import factors_of
from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.decoded import Resident, settle
from ppvae.datasets.reading import reading
from ppvae.datasets.selection import Selection
from ppvae.datasets.streamed import PixelArray, StreamedImages
from ppvae.errors import UserError
from ppvae.ordinary import open_ordinary

__all__ = ["npy"]

WHAT, REMEDY = ".npy file", "give an array written by numpy.save"


def npy(
    path: str | PathLike[str],
    *,
    labels: str | PathLike[str] | None = None,
    resident: Resident = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    real: bool = False,
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Images of one .npy file, as numpy.save or a memory map leaves it, which need not fit into memory.

    The array is one of (N, H, W), (N, H, W, C) or (N, C, H, W) as for ``zarr``, in C order. ``labels``: another .npy
    file of the factor ``label``, (N,) or (N, 1) numbers, text or booleans. Each image is found by its place and read
    without mapping the file, so that no page of it counts as this process's memory; an epoch's order is a uniformly
    drawn permutation. Other arguments as for ``zarr``.
    Errors: :class:`~ppvae.errors.UserError` for a file that is missing, holds no images or is shorter or longer than it
    declares. Nothing is ever unpickled.
    """
    selection = Selection(binarise, dequantise, size, seed)
    array = NumpyArray(path)
    images, factors = StreamedImages(array, real=real), {}
    if labels is not None:
        named = {"label": _whole(NumpyArray(labels))}
        factors = factors_of(named, len(images), ["label"], f"labels={str(labels)!r}")
    return settle(selection.dataset(images, factors, Path(path).stem), resident)


@final
class NumpyArray(PixelArray):
    """The array of a .npy file, whose items are read by their places."""

    chunk = 1

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = str(path)
        with reading(path, WHAT, REMEDY), open_ordinary(path) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, fortran, self.dtype = read(file)
            self.start = file.tell()
            self._check(file, fortran)

    def read(self, rows: np.ndarray) -> np.ndarray:
        with reading(self.path, WHAT, REMEDY), open_ordinary(self.path) as file:
            items = np.empty((len(rows), *self.shape[1:]), self.dtype)
            places = items.reshape(len(rows), -1).view(np.uint8) if items.size else items
            starts = np.flatnonzero(np.diff(rows, prepend=rows[:1] - 2) != 1)
            for first, last in zip(starts, [*starts[1:], len(rows)], strict=True):
                file.seek(self.start + int(rows[first]) * places.shape[1])
                if file.readinto(places[first:last]) != places[first:last].nbytes:
                    raise EOFError("it is shorter than when it was opened")
        return items

    def _check(self, file: BinaryIO, fortran: bool) -> None:
        if self.dtype.hasobject:
            raise UserError(f"{self.path!r} is pickled, which is never read: save numbers")
        if fortran and len(self.shape) > 1:
            raise UserError(f"{self.path!r} is in Fortran order: save numpy.ascontiguousarray(images)")
        declared = self.start + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if file.seek(0, 2) != declared:
            raise ValueError(f"it has {file.tell()} bytes, {declared} as it declares {self.shape} {self.dtype}")


def _whole(array: NumpyArray) -> np.ndarray:
    return array.read(np.arange(array.shape[0] if array.shape else 0))
