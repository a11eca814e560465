"""What every source takes: how its images are converted, and how many of them."""

from dataclasses import dataclass
from typing import Any

import torch

from ppvae.datasets.conversion import Binarise, Conversion, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.errors import UserError, check_whole

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """``size`` images drawn without replacement by ``seed``, in the order drawn; all of them, in theirs, for None.

    Errors: :class:`~ppvae.errors.UserError` before anything is read, for a conversion, size or seed that cannot be.
    """

    binarise: Binarise = "none"
    dequantise: Dequantise = "none"
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        Conversion(self.binarise, self.dequantise)
        check_whole("seed", self.seed, 0)
        if self.size is not None:
            check_whole("size", self.size, 1)

    def dataset(self, images: Any, factors: Any, name: str, *, real: bool = False) -> ImageDataset:
        """The selected images of a source; UserError where it has fewer."""
        data = ImageDataset(images, factors, name, binarise=self.binarise, dequantise=self.dequantise, real=real)
        if self.size is None:
            return data
        if self.size > len(data):
            raise UserError(
                f"size={self.size} is more than the {len(data)} images of {name}: take fewer, or null for all"
            )
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(self.seed))
        return data.subset(order[: self.size])
