"""What a conditional run is given beside images: a label, by number or name, or another image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError

from ..pairs import built
from .intake import Intake

__all__ = ["Conditions"]


@dataclass(frozen=True)
class Conditions:
    """``names``: of the levels of the condition's factor, where the run knows them."""

    configuration: DictConfig
    intake: Intake
    names: Sequence[Any] = ()

    @property
    def wanted(self) -> bool:
        """Whether the pair is of p(x | y)."""
        return self.configuration.get("condition") is not None

    def beside(self, data: ImageDataset, given: Any = None) -> ImageDataset:
        """The data set with what its images are given; what it has already is kept where nothing else is ``given``.

        Of images alone a pair that is not conditional takes them as they are; ``given`` are then what else it was
        trained with, as labels of which some are unknown.
        """
        if given is None and (data.inputs or not self.wanted):
            return data
        if not self.wanted:
            return data.with_inputs(given=_repeated(_numbers(given), len(data)))
        name = self.configuration.condition.input
        if self._transformation is not None:
            return data.with_inputs(**{name: self._seen(data if given is None else self._images(given, len(data)))})
        if given is None and data.factors is not None and name in data.factors:
            return data.with_inputs(name)
        return data.with_inputs(**{name: self._levels(given, len(data))})

    def draws(self, n: int, given: Any = None) -> tuple[Tensor, ...] | None:
        """What the model is called with to draw ``n`` images; None where it needs nothing."""
        if not self.wanted:
            if given is not None:
                raise UserError("given: the run's model is of images alone, it draws them by itself; leave it out")
            return None
        images = torch.zeros(n, *self.intake.image_shape, dtype=torch.get_default_dtype())
        if self._transformation is None:
            return images, self._levels(given, n)
        if given is None:
            raise UserError(f"the run's model draws images given {self._input}: give it images, given=…, to take it of")
        return images, self._seen(self._images(given, n))

    @property
    def _input(self) -> str:
        return str(self.configuration.condition.input)

    @property
    def _transformation(self) -> DictConfig | None:
        return self.configuration.condition.get("transformation")

    def _seen(self, data: ImageDataset) -> Tensor:
        return built(self._transformation, nn.Module)(data.observed())

    def _images(self, given: Any, count: int) -> ImageDataset:
        """As many images as there are others, in turn where there are fewer."""
        data = self.intake.dataset(given)
        return data if len(data) == count else data.subset(np.arange(count) % len(data))

    def _levels(self, given: Any, count: int) -> Tensor:
        """(count,) levels; one is repeated."""
        levels, names = int(self.configuration.condition.levels), list(map(str, self.names))
        known = f"{', '.join(names)}, or " if names else ""
        expected = f"give given=, a level of {self._input!r} or one for each image: {known}whole numbers below {levels}"
        if given is None:
            raise UserError(f"the run's model is conditional and was given images alone; {expected}")
        values = np.atleast_1d(np.asarray(given.cpu() if isinstance(given, Tensor) else given))
        if values.dtype.kind in "US" and set(map(str, values)) <= set(names):
            values = np.array([names.index(str(value)) for value in values])
        if values.dtype.kind not in "iu" or values.ndim != 1 or values.min() < 0 or values.max() >= levels:
            raise UserError(f"given={given!r}: {expected}")
        return _repeated(torch.from_numpy(values.astype(np.int64)), count)


def _numbers(given: Any) -> Tensor:
    try:
        return torch.atleast_1d(torch.as_tensor(given))
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"given={given!r}: expected numbers, one row an image, as the run was trained with") from None


def _repeated(values: Tensor, count: int) -> Tensor:
    if len(values) not in (1, count):
        raise UserError(f"given holds {len(values)} values for {count} images: give one for all, or one for each")
    return values.expand(count, *values.shape[1:]) if len(values) == 1 else values
