"""Batches of an epoch: taken from the device's memory, or streamed to it where they do not fit."""

import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import DataLoader

from ppvae.datasets.decoded import DecodedImages
from ppvae.datasets.images import StoredImages
from ppvae.datasets.streamed import StreamedImages, read_ahead
from ppvae.datasets.table_rows import Rows
from ppvae.errors import UserError

__all__ = ["Batches", "fits", "mixed"]

SHARE = 0.4
"""Images may take this share of a GPU's free memory; the rest is for parameters, activations and the optimiser."""

FEW_FILES = 1024
"""So few files are decoded faster by the training process than workers start."""

SOME = 32
"""Batches that BatchNorm's statistics are estimated from again."""

_MOST_WORKERS = 8


class Batches:
    """Shuffled batches of one size, the same for the same seed and epoch, shared between processes.

    ``source``: a tensor (image, C, H, W) or an :class:`~ppvae.datasets.Images`; its bytes stay bytes. Pixels in
    memory move to the device once where they fit (:func:`fits`). All others are streamed, in the same order: files
    are decoded by worker processes, at most eight and one a core; what is stored or drawn on demand comes from this
    process. An array on disk has an order of its own, in which few of its chunks are needed at a time, and is read by a
    thread. A last, smaller batch is left out; fewer images than a batch make one.
    ``given``: what comes with each image, (image, ...) each, kept where resident images are, else in memory.
    ``parts``: a step's images come in so many batches, one after another; ``size`` is that of one.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int,
        ranks: int,
        *,
        given: tuple[torch.Tensor, ...] = (),
        parts: int = 1,
    ) -> None:
        self.source = _placed(source, device)
        self.device = device
        self.seed = seed
        self.rank = rank
        self.size = min(batch_size, len(source)) // (ranks * parts)
        if self.size == 0:
            shared = f"{ranks} devices" if parts == 1 else f"{ranks} devices with {parts} parts a step each"
            raise UserError(f"{len(source)} images cannot be shared by {shared}; give more images")
        self.ranks, self.parts = ranks, parts
        self.steps = len(source) // (self.size * ranks * parts)
        self._shares: list[Any] = []
        self.given = tuple(_placed(values, device) for values in given)

    @property
    def resident(self) -> bool:
        """Whether all images are in the device's memory."""
        return isinstance(self.source, torch.Tensor) and self.source.device.type == self.device.type

    def first(self) -> tuple[torch.Tensor, ...]:
        """A batch to rehearse on: images and what is given with them."""
        return self._with_given(torch.arange(self.size), self._take(torch.arange(self.size)))

    def some(self) -> Iterator[list[tuple[torch.Tensor, ...]]]:
        """A few batches, the same always, each as what a pass over batches takes for its inputs."""
        count = min(SOME, len(self.source) // self.size)
        for index in torch.linspace(0, len(self.source) - 1, count * self.size).long().view(count, self.size):
            yield [self._with_given(index, self._take(index))]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        """This process's batches of an epoch from step ``start`` on, images and what is given with them."""
        generator = torch.Generator().manual_seed(mixed(self.seed, epoch))
        if isinstance(self.source, StreamedImages):
            shares, windows = (self._share(part, start) for part in self.source.shuffled(generator))
            return map(self._with_given, shares, map(self._moved, read_ahead(self.source, shares, windows[:, 0])))
        shares = self._share(torch.randperm(len(self.source), generator=generator), start)
        if self.resident:
            shares = shares.to(self.device)
            return map(self._with_given, shares, map(self._take, shares))
        self._shares[:] = shares.numpy()
        return map(self._with_given, shares, map(self._moved, self._loader))

    def _share(self, order: torch.Tensor, start: int) -> torch.Tensor:
        """This process's part of an epoch's order from step ``start`` on, (batch, size)."""
        used = order[: self.steps * self.parts * self.size * self.ranks]
        return used.view(self.steps * self.parts, self.ranks, self.size)[start * self.parts :, self.rank]

    def _with_given(self, index: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images, *(values[index.to(values.device)].to(self.device) for values in self.given)

    def _take(self, index: torch.Tensor) -> torch.Tensor:
        return self.source[index] if self.resident else self._moved(_Stream(self.source)[index.numpy()])

    @cached_property
    def _loader(self) -> DataLoader:
        """One loader for all epochs, so that its workers start once; it reads the epoch's order from ``_shares``."""
        workers = _workers(self.source, self.ranks)
        return DataLoader(
            _Stream(self.source),
            sampler=self._shares,
            batch_size=None,  # an item of the stream is a batch
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._pinned,
            generator=torch.Generator(),  # not the global one, whose noise must not depend on where the images are
        )

    @property
    def _pinned(self) -> bool:
        """Memory that a GPU can read while it computes; images drawn on demand may be on the GPU already."""
        return self.device.type == "cuda" and isinstance(self.source, torch.Tensor | DecodedImages)

    def _moved(self, batch: torch.Tensor | UserError) -> torch.Tensor:
        if isinstance(batch, UserError):
            raise batch
        return batch.to(self.device, non_blocking=True)


class _Stream:
    """Batches by their indices. A user's mistake is an item, not an exception: raised in a worker, it would reach the
    user as another process's traceback."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> torch.Tensor | UserError:
        try:
            return self.source[index] if isinstance(self.source, torch.Tensor) else self.source.stored(index)
        except UserError as error:
            return error


def fits(pixels: torch.Tensor, device: torch.device) -> bool:
    """Whether the images take at most ``SHARE`` of the device's free memory; memory they are in already has room."""
    if device.type != "cuda" or pixels.is_cuda:
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.nbytes <= SHARE * free


def mixed(*numbers: int) -> int:
    """One seed from several numbers, far apart for neighbours."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed


def _placed(source: Any, device: torch.device) -> Any:
    """Pixels in memory as a tensor, on the device if they fit; lazy images as they are."""
    pixels = source.pixels if isinstance(source, StoredImages | Rows) else source
    if isinstance(pixels, torch.Tensor) and fits(pixels, device):
        return pixels.to(device)
    return pixels


def _workers(source: Any, ranks: int) -> int:
    """Processes that decode for one of ``ranks``: only files are slow enough to be worth any."""
    if not isinstance(source, DecodedImages) or len(source) <= FEW_FILES:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores // ranks))
