"""Images to export, chunk by chunk, each chunk with a random stream of its own."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ppvae.datasets import ImageDataset
from ppvae.datasets.images import StoredImages

__all__ = ["Source", "seed_stream"]

PROBES = 1024  # images looked at to tell sets apart that are drawn on demand


@dataclass(frozen=True)
class Source:
    """A tensor (image, C, H, W) or a dataset, whose ``observed`` images are made chunk by chunk."""

    images: torch.Tensor | ImageDataset
    chunk: int
    seed: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.images)

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Images ``start`` to ``stop`` as the pair takes them, on its device."""
        if isinstance(self.images, torch.Tensor):
            return self.images[start:stop].to(self.device)
        return self.images.observed(slice(start, stop), self.seed).to(self.device)

    def chunks(self, start: int = 0) -> Iterator[torch.Tensor]:
        """The chunks from image ``start``, a multiple of the chunk's size; seeds torch for each before it is used."""
        for first in range(start, len(self), self.chunk):
            images = self.read(first, min(first + self.chunk, len(self)))
            seed_stream(self.device, self.seed, first // self.chunk)
            yield images

    def fingerprint(self) -> str:
        """Tells these images from others: a hash of all of them, or of evenly spaced ones where each is drawn now."""
        digest = hashlib.sha256(repr((len(self), str(self.device.type))).encode())
        if isinstance(self.images, torch.Tensor):
            pieces: Iterator[torch.Tensor] = iter(self.images.split(4096))
        else:
            digest.update(self.images.description.encode())
            pieces = self._stored()
        for piece in pieces:
            digest.update(np.ascontiguousarray(piece.detach().cpu().numpy()))
        return digest.hexdigest()

    def _stored(self) -> Iterator[torch.Tensor]:
        data, count = self.images, len(self)
        if isinstance(data.images, StoredImages):
            return (data.stored(slice(start, start + 4096)) for start in range(0, count, 4096))
        probes = np.unique(np.linspace(0, count - 1, min(count, PROBES)).astype(int))
        return iter([data.stored(probes)])


def seed_stream(device: torch.device, seed: int, *stream: int) -> None:
    """Start torch's random numbers anew, on one stream of many that are independent of each other."""
    state = int(np.random.SeedSequence([abs(seed), int(seed < 0), *stream]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(state)  # torch.manual_seed spends milliseconds on a GPU that is not there
    if device.type == "cuda":
        torch.cuda.manual_seed(state)
