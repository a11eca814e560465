"""Images that stay in their files until they are asked for."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.images import Images, Index, positions
from ppvae.errors import UserError
from ppvae.memory import available_memory, readable_size

__all__ = ["RESIDENT_BYTES", "DecodedImages", "Resident", "settle"]

RESIDENT_BYTES = 2**31
"""Images of at most this size are decoded at once when nothing else is asked for: CelebA's 162 770 at 64 × 64."""

Resident = Literal["auto"] | bool

UNASKED_BYTES = 2**26  # so much is taken without looking what is left, which takes as long as an image

_AT_ONCE = 256


@final
class DecodedImages(Images):
    """Images read when asked for: ``decode`` maps a path to one image (C, H, W), uint8, or float32 if ``real``; both
    must be picklable.

    Many at a time are decoded by several threads. Pixels are taken for grey unless ``binary`` says otherwise.
    """

    def __init__(
        self,
        files: Sequence[str] | np.ndarray,
        decode: Callable[[str], Tensor],
        image_shape: tuple[int, int, int],
        binary: bool = False,
        real: bool = False,
    ) -> None:
        self.files = np.asarray(files, dtype=str)
        self.decode = decode
        self.shape = (len(self.files), *image_shape)
        self.binary = binary
        self.real = real

    def stored(self, index: Index = slice(None)) -> Tensor:
        files = self.files[positions(index, len(self)).numpy()].tolist()
        self._check_fits(len(files))
        pixels = torch.empty((len(files), *self.shape[1:]), dtype=torch.float32 if self.real else torch.uint8)
        if len(files) <= _AT_ONCE:
            self._fill(pixels, files)
            return pixels
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            parts = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
            list(threads.map(self._fill, pixels.split(_AT_ONCE), parts))
        return pixels

    def subset(self, index: Index) -> "DecodedImages":
        files = self.files[positions(index, len(self)).numpy()]
        return DecodedImages(files, self.decode, self.shape[1:], self.binary, self.real)

    def _check_fits(self, count: int) -> None:
        needed = (4 if self.real else 1) * count * math.prod(self.shape[1:])
        if needed > UNASKED_BYTES and needed > (left := available_memory()):
            raise UserError(
                f"{count} images of {self.shape[1:]} take {readable_size(needed)}, {readable_size(left)} of memory are"
                " left; give a smaller image_size or size, or resident=False"
            )

    def _fill(self, pixels: Tensor, files: list[str]) -> None:
        for image, path in zip(pixels, files, strict=True):
            image.copy_(self.decode(path))


def settle(data: ImageDataset, resident: Resident) -> ImageDataset:
    """The dataset with its files decoded now, or later; ``"auto"``: now where they take at most ``RESIDENT_BYTES``."""
    if resident not in ("auto", True, False):
        raise UserError(f"resident={resident!r}: expected 'auto', true (decode all now) or false (decode on demand)")
    fits = (4 if data.images.real else 1) * math.prod(data.images.shape) <= min(RESIDENT_BYTES, available_memory() // 2)
    return data.resident() if resident is True or (resident == "auto" and fits) else data
