"""Batches of an epoch, drawn on the device."""

from collections.abc import Iterator
from typing import Any

import torch

from ppvae.errors import UserError

__all__ = ["Batches", "unit_interval"]


def unit_interval(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pixels as floats in [0, 1]; floats as they are."""
    return pixels.to(torch.get_default_dtype()) / 255 if pixels.dtype == torch.uint8 else pixels


class Batches:
    """Shuffled batches of one size, the same for the same seed and epoch, shared between processes.

    ``source``: a tensor (image, C, H, W), which moves to the device once, or images drawn on demand
    (:class:`~ppvae.datasets.RenderedImages`). A last, smaller batch is left out; fewer images than a batch make one.
    """

    def __init__(self, source: Any, batch_size: int, seed: int, device: torch.device, rank: int, ranks: int) -> None:
        self.source = source.to(device) if isinstance(source, torch.Tensor) else source
        self.device = device
        self.seed = seed
        self.rank = rank
        self.size = min(batch_size, len(source)) // ranks
        if self.size == 0:
            raise UserError(f"{len(source)} images cannot be shared by {ranks} devices; give more images")
        self.ranks = ranks
        self.steps = len(source) // (self.size * ranks)

    def first(self) -> torch.Tensor:
        """A batch to rehearse on."""
        return self._take(torch.arange(self.size))

    def epoch(self, epoch: int) -> Iterator[torch.Tensor]:
        """This process's batches of an epoch."""
        order = torch.randperm(len(self.source), generator=torch.Generator().manual_seed(mixed(self.seed, epoch)))
        shares = order[: self.steps * self.size * self.ranks].view(self.steps, self.ranks, self.size)[:, self.rank]
        return map(self._take, shares.to(self.device))

    def _take(self, index: torch.Tensor) -> torch.Tensor:
        if isinstance(self.source, torch.Tensor):
            return self.source[index]
        return self.source.stored(index.cpu()).to(self.device)


def mixed(*numbers: int) -> int:
    """One seed from several numbers, far apart for neighbours."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
