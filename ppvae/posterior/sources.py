"""Images to export, chunk by chunk, each chunk with a random stream of its own."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from ppvae.datasets import ImageDataset
from ppvae.datasets.images import StoredImages
from ppvae.datasets.table_rows import Rows

__all__ = ["Source", "seed_stream"]

PROBES = 1024  # images looked at to tell sets apart that are drawn on demand


@dataclass(frozen=True)
class Source:
    """Images (image, C, H, W) with further inputs, or a dataset, whose images are made chunk by chunk."""

    data: tuple[torch.Tensor, ...] | ImageDataset
    chunk: int
    seed: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.data if isinstance(self.data, ImageDataset) else self.data[0])

    @property
    def names(self) -> list[str]:
        """What the inputs beside the images are called: as in the dataset, else by place from ``input_2`` on."""
        if isinstance(self.data, ImageDataset):
            return list(self.data.inputs)
        return [f"input_{place}" for place in range(2, len(self.data) + 1)]

    @property
    def given(self) -> dict[str, torch.Tensor]:
        """All of them, by name."""
        inputs = self.data.given() if isinstance(self.data, ImageDataset) else self.data[1:]
        return dict(zip(self.names, inputs, strict=True))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The names of a table's columns as a coordinate; empty for images."""
        rows = getattr(self.data, "images", None)
        return {"column": rows.columns} if isinstance(rows, Rows) else {}

    @property
    def scaling(self) -> dict[str, tuple[str, np.ndarray]]:
        """What was taken off a table's columns, as coordinates; empty for images."""
        rows = getattr(self.data, "images", None)
        return rows.scaling.coords() if isinstance(rows, Rows) else {}

    def read(self, start: int, stop: int) -> tuple[torch.Tensor, ...]:
        """Images ``start`` to ``stop`` and their inputs as the pair takes them, on its device."""
        index = slice(start, stop)
        if isinstance(self.data, ImageDataset):
            inputs = self.data.arguments(index, self.seed)
        else:
            inputs = tuple(values[index] for values in self.data)
        return tuple(values.to(self.device) for values in inputs)

    def chunks(self, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        """The chunks from image ``start``, a multiple of the chunk's size; seeds torch for each before it is used."""
        for first in range(start, len(self), self.chunk):
            inputs = self.read(first, min(first + self.chunk, len(self)))
            seed_stream(self.device, self.seed, first // self.chunk)
            yield inputs

    def fingerprint(self) -> str:
        """Tells these images from others: a hash of all of them, or of evenly spaced ones where each is drawn now."""
        digest = hashlib.sha256(repr((len(self), str(self.device.type))).encode())
        if isinstance(self.data, ImageDataset):
            digest.update(self.data.description.encode())
            pieces: Iterator[torch.Tensor] = self._stored()
        else:
            pieces = iter(self.data[0].split(4096))
        for piece in chain(pieces, self.given.values()):
            digest.update(np.ascontiguousarray(piece.detach().cpu().numpy()))
        return digest.hexdigest()

    def _stored(self) -> Iterator[torch.Tensor]:
        data, count = self.data, len(self)
        if isinstance(data.images, StoredImages | Rows):
            return (data.stored(slice(start, start + 4096)) for start in range(0, count, 4096))
        probes = np.unique(np.linspace(0, count - 1, min(count, PROBES)).astype(int))
        return iter([data.stored(probes)])


def seed_stream(device: torch.device, seed: int, *stream: int) -> None:
    """Start torch's random numbers anew, on one stream of many that are independent of each other."""
    state = int(np.random.SeedSequence([abs(seed), int(seed < 0), *stream]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(state)  # torch.manual_seed spends milliseconds on a GPU that is not there
    if device.type == "cuda":
        torch.cuda.manual_seed(state)
