"""What a pair is worth on images that it does not train on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ppvae.datasets import Conversion, ImageDataset
from ppvae.datasets.splitting import held_apart
from ppvae.objectives import Objective
from ppvae.objectives.objective import LATE
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.untouched import evaluating

__all__ = ["Validation", "split"]

SEED = 20  # of the noise, the same each epoch, so that epochs can be compared


def split(data: ImageDataset | Data, share: float, seed: int) -> tuple[Any, Any]:
    """``data`` without a share of its images, drawn by ``seed``, and that share."""
    if isinstance(data, ImageDataset):
        apart = held_apart(len(data), share, seed)
        return tuple(data.subset(index) for index in apart)  # rows keep the scaling that the caller goes on with
    parts = inputs_of(data)
    kept, apart = held_apart(len(parts[0]), share, seed)
    return tuple(values[kept] for values in parts), tuple(values[apart] for values in parts)


class Validation:
    """Measures loss, bound, rate and distortion of a pair on ``data``, in nats per image.

    The loss is the objective's with its schedules over, so that epochs can be compared while a weight still rises.
    Each of ``ranks`` processes measures its share of the images.
    """

    def __init__(
        self,
        data: ImageDataset | Data,
        objective: Objective,
        batch_size: int,
        device: torch.device,
        rank: int,
        ranks: int,
    ) -> None:
        self.data, self.objective, self.device = data, objective, device
        self.numbers = torch.tensor(objective.numbers(LATE), device=device)
        images = len(data) if isinstance(data, ImageDataset) else len(inputs_of(data)[0])
        self.shares = torch.arange(images).split(batch_size)[rank::ranks]

    def sums(self, model: nn.Module, guide: nn.Module) -> torch.Tensor:
        """(4,): sums over this process's images of loss, rate and distortion, and their number."""
        total = torch.zeros(4, dtype=torch.float64)
        with evaluating(model, guide, device=self.device, seed=SEED):
            for count, batch in self._batches():
                loss, terms = self.objective.evaluate(model, guide, batch, self.numbers)
                means = torch.stack([loss, terms.rate.mean(), terms.distortion.mean()]).double().cpu()
                total += torch.cat([count * means, torch.tensor([float(count)])])
        return total

    @staticmethod
    def told(sums: torch.Tensor) -> dict[str, float]:
        """The means by the names that the history gives them."""
        loss, rate, distortion = (sums[:3] / sums[3]).tolist()
        found = {"loss": loss, "elbo": -rate - distortion, "rate": rate, "distortion": distortion}
        return {f"validation_{name}": value for name, value in found.items()}

    def _batches(self) -> Iterator[tuple[int, tuple[torch.Tensor, ...]]]:
        for index in self.shares:
            if isinstance(self.data, ImageDataset):
                batch = self.data.arguments(index)
            else:
                pixels, *given = (values[index.to(values.device)] for values in inputs_of(self.data))
                batch = Conversion()(pixels), *given
            yield len(index), tuple(values.to(self.device) for values in batch)
