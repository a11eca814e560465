"""Images in a Zarr store, streamed from it."""

import logging
import os
from collections.abc import Iterator
from itertools import product
from math import ceil
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import xarray as xr

from ppvae.datasets.columns import factors_of
from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.decoded import Resident, settle
from ppvae.datasets.factors import factor
from ppvae.datasets.reading import reading
from ppvae.datasets.selection import Selection
from ppvae.datasets.streamed import PixelArray, StreamedImages
from ppvae.errors import UserError
from ppvae.files import settled
from ppvae.memory import check_memory

if TYPE_CHECKING:
    from zarr import Array

__all__ = ["BINARY", "VALUES", "ZarrArray", "stored_arrays", "zarr"]

logger = logging.getLogger(__name__)

WHAT, REMEDY = "Zarr store", "mend it, or write it again"
CONCURRENT = 10  # chunks that Zarr decodes at a time
BINARY = "binary"
"""Attribute of an array of images that says whether every pixel is 0 or 255."""
VALUES = "values"
"""Attribute of an array of indices that says what its levels are; null of a continuous factor."""


def zarr(
    path: str | PathLike[str],
    *,
    images: str = "images",
    labels: str = "labels",
    resident: Resident = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    real: bool = False,
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Images and factors of a Zarr folder, of format 2 or 3, which need not fit into memory.

    ``images``: in a group the array of (N, H, W), (N, H, W, C) or (N, C, H, W), C one to four: uint8 in 0..255,
    booleans, or floats in [0, 1], which ``real`` keeps as they are, and 16 bits over 65535; a store that is one array
    is the images. ``labels``: the array of the factor ``label``; may be missing. Every other array (N,) or (N, 1) of
    numbers, text or booleans is a factor of its own name, as in ``npz``. ``resident``: read all now (True), batch by
    batch (False), or now if they take at most 2 GiB ("auto").

    In training, chunks come in a random order, and images are shuffled within windows of 64 MiB, as
    ``StreamedImages.shuffled`` says: a hundred images a chunk mix well and read fast, in shards as well. Other
    arguments as for ``mnist``.
    Errors: :class:`~ppvae.errors.UserError` for a store or array that is missing, holds no images or lacks a chunk,
    and, when it is read, for one that is damaged. Nothing is ever unpickled.
    """
    selection = Selection(binarise, dequantise, size, seed)
    place = Path(path)
    if not settled(place):
        raise UserError(f"no {WHAT} at {str(path)!r}: give a folder that zarr.create_array or the like has written")
    arrays = stored_arrays(place, images)
    pixels = ZarrArray(place, arrays.pop(images))
    streamed = StreamedImages(pixels, real=real, binary=pixels.array.attrs.get(BINARY) is True)
    table = _table(place, arrays, labels, len(streamed))
    return settle(selection.dataset(streamed, table, place.stem), resident)


@final
class ZarrArray(PixelArray):
    """An array of a Zarr folder, all of whose chunks are there."""

    def __init__(self, store: Path, array: "Array") -> None:
        self.path, self.array = str(store / array.path), array
        self.shape, self.dtype, self.chunk = array.shape, np.dtype(array.dtype), array.chunks[0] if array.chunks else 1
        _check_codecs(self.path, array)
        _check_chunks(self.path, array)
        with reading(self.path, WHAT, "write it again in smaller chunks"):
            chunk = int(np.prod(array.chunks)) * self.dtype.itemsize
            check_memory(f"reading chunks of {self.chunk} images", CONCURRENT * chunk)

    def read(self, rows: np.ndarray) -> np.ndarray:
        with reading(self.path, WHAT, REMEDY):
            return np.asarray(self.array.oindex[rows])


def stored_arrays(path: Path, images: str) -> dict[str, "Array"]:
    """The store's arrays by name, that of the images as ``images``."""
    from zarr import Array, open

    from ppvae.datasets.whole_stores import WholeStore

    with reading(path, WHAT, "give a folder that zarr.create_array or the like has written"):
        node = open(WholeStore(path), mode="r")
        arrays = {images: node} if isinstance(node, Array) else dict(node.arrays())
    if images not in arrays:
        raise UserError(f"{str(path)!r} has no array images={images!r}: name one of {', '.join(arrays) or 'none'}")
    return arrays


def _table(store: Path, arrays: dict[str, "Array"], labels: str, count: int) -> xr.Dataset:
    """The factors of all images and their files, from the arrays that fit; the rest is logged."""
    described = {name: array for name, array in arrays.items() if _fits(array, count)}
    for name in sorted(arrays.keys() - described.keys()):
        logger.warning("%s, not used: %r, expected numbers, text or booleans (%d,)", store, name, count)
    if labels not in described and labels != "labels":
        raise UserError(f"{str(store)!r} has no array labels={labels!r} of {count} labels")
    told = {name: _factor(store, array) for name, array in described.items() if VALUES in array.attrs}
    columns = {name: _column(store, array) for name, array in described.items() if name not in told}
    files = {"file": ("image", np.array(columns.pop("file").tolist(), dtype=str))} if "file" in columns else {}
    named = {"label": columns.pop(labels)} if labels in columns else {}
    factors = factors_of(columns, count, None, repr(str(store)))
    factors |= factors_of(named, count, list(named), f"{str(store)!r}, labels={labels!r}")
    return xr.Dataset(factors | told, coords=files)


def _fits(array: "Array", count: int) -> bool:
    return array.shape in ((count,), (count, 1)) and np.dtype(array.dtype).kind in "TSUbiuf"


def _column(store: Path, array: "Array") -> np.ndarray:
    path = str(store / array.path)
    _check_codecs(path, array)
    _check_chunks(path, array)
    with reading(path, WHAT, REMEDY):
        return np.asarray(array[:])


def _factor(store: Path, array: "Array") -> xr.DataArray:
    """A factor as ``write_zarr`` has written it."""
    values, told = _column(store, array), dict(array.attrs)
    levels = told.pop(VALUES)
    return xr.DataArray(values, dims="image", attrs=told) if levels is None else factor(values, levels, **told)


def _check_codecs(path: str, array: "Array") -> None:
    """UserError for an array of format 2 that is pickled: reading it would run what it says."""
    codecs = [*(array.filters or ()), *(array.compressors or ())]
    if np.dtype(array.dtype).kind == "O" or any("pickle" in repr(codec).lower() for codec in codecs):
        raise UserError(f"{path!r} is pickled, which is never read: store numbers")


def _check_chunks(path: str, array: "Array") -> None:
    """UserError where a chunk's file is not there: Zarr would read zeros."""
    missing = [key for key in _keys(array) if not os.path.isfile(os.path.join(path, key))]
    if missing:
        raise UserError(
            f"{path!r} lacks {len(missing)} of its chunks, {missing[0]} the first: bring them back, or, where they were"
            " zeros, write it again with config={'write_empty_chunks': True}"
        )


def _keys(array: "Array") -> Iterator[str]:
    """The files of its chunks or shards, below the array's folder."""
    stored = array.shards or array.chunks
    grid = (range(ceil(length / side)) for length, side in zip(array.shape, stored, strict=True))
    return map(array.metadata.encode_chunk_key, product(*grid))
