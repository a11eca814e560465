"""Images that stay in an array on disk and are read as they are needed."""

import abc
import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import final

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.images import Images, Index, positions
from ppvae.datasets.pixels import checked_pixels
from ppvae.described import one_line
from ppvae.errors import UserError
from ppvae.memory import available_memory, readable_size

__all__ = ["PixelArray", "StreamedImages", "read_ahead"]

logger = logging.getLogger(__name__)

WINDOW_BYTES = 2**26
"""Images shuffled among each other, and read while those before them are used: 5 461 of 3 × 64 × 64."""

FEW_CHUNKS = 8
"""Batches drawn from fewer chunks at a time are hardly mixed, where neighbours are alike."""

_PIECE = 2**24  # bytes read in one call
_LOOKED_AT = 64  # images that are read to see what the array holds


class PixelArray(abc.ABC):
    """An array on disk, (N, H, W), (N, H, W, C) or (N, C, H, W), C one to four, whose images are read by their numbers.

    Processes that load batches get copies of it: it must be picklable.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: int
    """So many images in a row are read together, whichever of them are wanted."""

    @abc.abstractmethod
    def read(self, rows: np.ndarray) -> np.ndarray:
        """The images at ascending ``rows``, (n, ...); one-line UserError for a file that is missing or damaged."""

    def __repr__(self) -> str:
        return one_line(self, "path", "shape", "chunk")


@final
class StreamedImages(Images):
    """The images of a ``PixelArray``, at ``rows`` of it, in that order (None: all), read when asked for.

    They are bytes in 0..255, booleans, or floats in [0, 1], which with ``real`` stay numbers, as 16 bits over 65535 do.
    Pixels are taken for grey unless they are booleans or ``binary`` says otherwise.
    Errors: :class:`~ppvae.errors.UserError` for an array of another shape or type, and when it is read for pixels out
    of range.
    """

    def __init__(
        self, array: PixelArray, rows: Tensor | None = None, *, real: bool = False, binary: bool = False
    ) -> None:
        self.array, self.real = array, real
        self.binary = (binary or array.dtype == bool) and not real
        if rows is None:
            _check(array)
        self.rows = torch.arange(array.shape[0]) if rows is None else rows
        self.shape = (len(self.rows), *_image_shape(array.shape))
        if rows is None:
            self._look_at_the_first()

    def stored(self, index: Index = slice(None)) -> Tensor:
        rows = self.rows[positions(index, len(self))].numpy()
        self._check_fits(len(rows))
        pixels = np.empty((len(rows), *self.shape[1:]), dtype=np.float32 if self.real else np.uint8)
        order = np.argsort(rows, kind="stable")
        for part in self._pieces(rows[order]):
            pixels[order[part]] = self._read(rows[order[part]]).numpy()
        return torch.from_numpy(pixels)

    def subset(self, index: Index) -> "StreamedImages":
        return StreamedImages(self.array, self.rows[positions(index, len(self))], real=self.real, binary=self.binary)

    @property
    def window(self) -> int:
        """How many images are shuffled among each other."""
        return max(1, WINDOW_BYTES // self._image_bytes)

    def shuffled(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """An order of all images, (N,) positions, and the window that each place of it is in, (N,) ascending.

        All chunks in a random order, cut into windows of about ``window`` images, and the images of each window in a
        random order. Each image occurs once and is as likely at each place. Two images of one chunk share a window; two
        of different chunks, of C in windows of k each, do with probability (k - 1)/(C - 1). Where a chunk is one image,
        or all are in one window, this is a uniformly drawn permutation.
        Source: Xu et al., "In-database machine learning with CorgiPile: stochastic gradient descent without full data
        shuffle", 2022 (a shuffle of blocks, then within a buffer of them).
        """
        chunks, chunk = (self.rows // self.array.chunk).unique(return_inverse=True)
        order = torch.randperm(len(chunks), generator=generator)
        sizes = chunk.bincount()[order]
        windows = torch.empty_like(order)
        windows[order] = (sizes.cumsum(0) - sizes) // self.window
        windows = windows.unique(return_inverse=True)[1]
        among = torch.randperm(len(self), generator=generator)
        by_window, place = windows[chunk[among]].sort(stable=True)
        return among[place], by_window

    def _look_at_the_first(self) -> None:
        """UserError where they are no pixels, or zeros and ones that should be 0 and 255."""
        first = self._read(np.arange(min(_LOOKED_AT, len(self))))
        if not self.real and first.max() == 1:
            raise UserError(
                f"{self.array.path!r}: the first images are zeros and ones of {self.array.dtype}, expected 0..255;"
                " store booleans"
            )

    def _read(self, rows: np.ndarray) -> Tensor:
        pixels = self.array.read(rows)
        if pixels.ndim == 3:
            pixels = pixels[:, None]
        elif _channels_last(pixels.shape):
            pixels = np.moveaxis(pixels, -1, 1)
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        if pixels.dtype == np.uint8:
            stored = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
            return stored.to(torch.float32) / 255 if self.real else stored
        try:
            return checked_pixels(pixels, real=self.real)
        except UserError as error:
            raise UserError(f"{self.array.path!r}: {error}") from None

    def _pieces(self, rows: np.ndarray) -> Iterator[slice]:
        """Parts of ascending rows that are read in one call, no chunk in two of them."""
        chunks_a_piece = max(1, _PIECE // (self._image_bytes * self.array.chunk))
        chunks = np.unique(rows // self.array.chunk, return_inverse=True)[1]  # numbered as they are needed
        starts = np.flatnonzero(np.diff(chunks // chunks_a_piece, prepend=-1))
        return map(slice, starts, [*starts[1:], len(rows)])

    def _check_fits(self, count: int) -> None:
        needed = count * self._image_bytes
        if needed > WINDOW_BYTES and needed > (left := available_memory()):
            raise UserError(
                f"{count} images of {self.shape[1:]} take {readable_size(needed)}, {readable_size(left)} of memory are"
                " left; give fewer (size), or resident=False"
            )

    @property
    def _image_bytes(self) -> int:
        return (4 if self.real else 1) * math.prod(self.shape[1:])


def read_ahead(images: StreamedImages, batches: Sequence[Tensor], windows: Tensor) -> Iterator[Tensor]:
    """The images of each of ``batches``, (size,) positions each, those of the next window read by a thread meanwhile.

    ``windows``: the window of each batch, (batch,) ascending. Two windows are held at a time.
    """
    groups = _split(batches, windows.unique_consecutive(return_counts=True)[1].tolist())
    with ThreadPoolExecutor(1, thread_name_prefix="read_ahead") as reader:
        asked = (reader.submit(images.stored, torch.cat(group)) for group in groups)
        coming = next(asked, None)
        for group in groups:
            pixels = coming.result()
            coming = next(asked, None)
            for batch in pixels.split(list(map(len, group))):
                yield batch.clone()  # which does not keep its window in memory


def _check(array: PixelArray) -> None:
    """UserError for an array that holds no images; a warning for chunks so large that they mix badly."""
    what = f"{array.path!r} holds {array.dtype} of shape {tuple(array.shape)}"
    if len(array.shape) not in (3, 4) or (len(array.shape) == 4 and min(array.shape[1], array.shape[-1]) > 4):
        raise UserError(f"{what}: expected images (N, H, W), (N, H, W, C) or (N, C, H, W), C one to four")
    if math.prod(array.shape) == 0:
        raise UserError(f"{what}: expected at least one image of one pixel")
    if array.dtype.kind not in "bf" and array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{what}: expected uint8 in 0..255, booleans, or floats in [0, 1]; convert them")
    at_once = WINDOW_BYTES // (math.prod(array.shape[1:]) * array.chunk)
    if at_once < FEW_CHUNKS and array.shape[0] > max(1, at_once) * array.chunk:
        logger.warning(
            "%s: a chunk holds %d images, %s: few are mixed at a time; write it again in smaller chunks",
            *(array.path, array.chunk, readable_size(array.chunk * math.prod(array.shape[1:]))),
        )


def _split(batches: Sequence[Tensor], counts: Sequence[int]) -> list[list[Tensor]]:
    following = iter(batches)
    return [list(islice(following, count)) for count in counts]


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W)."""
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    return (shape[3], shape[1], shape[2]) if _channels_last(shape) else (shape[1], shape[2], shape[3])


def _channels_last(shape: Sequence[int]) -> bool:
    return len(shape) == 4 and shape[-1] <= 4 < shape[1]
