"""Images by index: kept in memory, or drawn on demand."""

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.conversion import Kind
from ppvae.described import Described
from ppvae.nouns import IMAGE, Noun

__all__ = ["Images", "Index", "RenderedImages", "StoredImages", "positions"]

type Index = slice | Sequence[int] | np.ndarray | Tensor


class Images(Described, abc.ABC):
    """Images by index: ``images[i]`` is float32 in [0, 1], ``images.stored(i)`` the same as uint8, or if ``real`` as it
    is.

    A slice, integer array or boolean mask gives (n, C, H, W), a plain integer (C, H, W).
    """

    shape: tuple[int, int, int, int]
    binary: bool
    """Whether every pixel is 0 or 255."""
    real: bool = False
    """Whether floats are kept, float32 in [0, 1] of images, and no grey levels."""
    noun: Noun = IMAGE
    """What one of them is called in reports."""

    @property
    def kind(self) -> Kind:
        """What the stored pixels are."""
        if self.real:
            return "real"
        return "binary" if self.binary else "8-bit"

    @abc.abstractmethod
    def stored(self, index: Index = slice(None)) -> Tensor:
        """uint8 images, or float32 if ``real``, shape (n, C, H, W); raises IndexError outside 0..N-1."""

    @abc.abstractmethod
    def subset(self, index: Index) -> "Images":
        """The images at ``index``, of the same kind."""

    def scaled_as(self, training: "Images") -> "Images":  # noqa: ARG002 - rows of a table have units, pixels none
        """The same images, in units fitted to those of ``training`` where they have any."""
        return self

    def describe(self, name: str, seen: str) -> str:
        """What they are, and what a likelihood sees of them: ``mnist test, 10000 images 1×28×28, binarised at 0.5``."""
        return f"{name}, {len(self)} images {'×'.join(map(str, self.shape[1:]))}, {seen}"

    def __getitem__(self, index: int | Index) -> Tensor:
        if isinstance(index, int | np.integer):
            return self[[int(index)]][0]
        stored = self.stored(index)
        return stored if self.real else stored.to(torch.float32).div_(255)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("floats are made from the stored bytes: np.asarray(images, copy=False) is not possible")
        return self[:].cpu().numpy().astype(dtype or np.float32, copy=False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, {self.extra_repr()})"


@final
class StoredImages(Images):
    """Images kept as one tensor of shape (N, C, H, W), uint8 or float32, on its device; slices are views.

    ``binary`` is looked up in the pixels once, at first need, where it is not given.
    """

    def __init__(self, pixels: Tensor, binary: bool | None = None) -> None:
        self.pixels = pixels
        n, channels, rows, columns = pixels.shape
        self.shape = (n, channels, rows, columns)
        self.real = pixels.is_floating_point()
        self._binary = False if self.real else binary

    @property
    def binary(self) -> bool:
        if self._binary is None:  # 255 + 1 is 0 in uint8; grey images end the search in their first part
            self._binary = all(bool((part + 1).max() < 2) for part in self.pixels.split(1024))
        return self._binary

    def stored(self, index: Index = slice(None)) -> Tensor:
        if isinstance(index, slice) and (index.step is None or index.step > 0):
            return self.pixels[index]
        return self.pixels[positions(index, len(self)).to(self.pixels.device)]

    def subset(self, index: Index) -> "StoredImages":
        return StoredImages(self.stored(index), self.binary)


@final
class RenderedImages(Images):
    """Images drawn when asked for: ``render`` maps (n,) positions (int64, CPU) to uint8 images (n, C, H, W).

    Pixels are taken for grey unless ``binary`` says that all of them are 0 or 255.
    """

    def __init__(
        self,
        render: Callable[[Tensor], Tensor],
        positions: Tensor,
        image_shape: tuple[int, int, int],
        binary: bool = False,
    ) -> None:
        self.render = render
        self.positions = positions
        self.shape = (len(positions), *image_shape)
        self.binary = binary

    def stored(self, index: Index = slice(None)) -> Tensor:
        return self.render(self.positions[positions(index, len(self))])

    def subset(self, index: Index) -> "RenderedImages":
        chosen = self.positions[positions(index, len(self))]
        return RenderedImages(self.render, chosen, self.shape[1:], self.binary)


def positions(index: Index, n: int) -> Tensor:
    """(m,) int64 positions in 0..n-1 for a slice, integers (negative ones count from the end) or a mask."""
    if isinstance(index, slice):
        return torch.arange(*index.indices(n))
    rows = (index if isinstance(index, Tensor) else torch.from_numpy(_native(index))).cpu()
    if rows.dtype == torch.bool and rows.shape == (n,):
        return rows.nonzero()[:, 0]
    if rows.numel() == 0:
        return torch.empty(0, dtype=torch.int64)
    if rows.dtype == torch.bool or rows.is_floating_point() or rows.ndim != 1:
        kind = f"{rows.dtype} of shape {tuple(rows.shape)}"
        raise IndexError(f"index is {kind}: expected a slice, (m,) integers or a mask of shape ({n},)")
    rows = rows.to(torch.int64)
    if rows.min() < -n or rows.max() >= n:
        raise IndexError(f"index {int(rows.min())}..{int(rows.max())} is outside the {n} images")
    return rows % n


def _native(index: Any) -> np.ndarray:
    array = np.array(index)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array
