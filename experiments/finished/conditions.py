"""What a run is given beside images: a label, by number or name, or another image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.models import UNKNOWN

from ..pairs import built
from .intake import Intake

__all__ = ["Conditions"]


@dataclass(frozen=True)
class Conditions:
    """``names``: of the levels of the factor that is given, where the run knows them."""

    configuration: DictConfig
    intake: Intake
    names: Sequence[Any] = ()

    @property
    def wanted(self) -> bool:
        """Whether the pair is of p(x | y)."""
        return self.configuration.get("condition") is not None

    @property
    def labels(self) -> DictConfig | None:
        """Of a pair that was trained with some labels."""
        return self.configuration.get("labels")

    @property
    def name(self) -> str | None:
        """Of what is given with an image: a factor, or what the images beside it are; None of images alone."""
        if self.wanted:
            return str(self.configuration.condition.input)
        return None if self.labels is None else str(self.labels.factor)

    @property
    def of_levels(self) -> bool:
        """Whether what is given is one of some levels."""
        return self.labels is not None or (self.wanted and self._transformation is None)

    def beside(self, data: ImageDataset, given: Any = None) -> ImageDataset:
        """The data set with what its images are given; what it has already is kept where nothing else is ``given``.

        Of images alone a pair that is not conditional takes them as they are; ``given`` are then what else it was
        trained with, as labels of which some are unknown.
        """
        given = self._value(given)
        if given is None and (data.inputs or not self.wanted):
            return data
        if not self.wanted:
            known = _numbers(given) if self.labels is None else self._levels(given, unknown=True)
            return data.with_inputs(given=_repeated(known, len(data)))
        name = str(self.name)
        if self._transformation is not None:
            return data.with_inputs(**{name: self._seen(data if given is None else self._images(given, len(data)))})
        if given is None and data.factors is not None and name in data.factors:
            return data.with_inputs(name)
        return data.with_inputs(**{name: _repeated(self._levels(given), len(data))})

    def draws(self, n: int, given: Any = None) -> dict[str, Any]:
        """How the model draws ``n`` images: ``like`` what it is called with, or the ``values`` of its label."""
        given = self._value(given)
        if not self.wanted:
            if given is None:
                return {}
            if self.labels is None:
                raise UserError("given: the run's model is of images alone, it draws them by itself; leave it out")
            return {"values": {"y": one_hot(_repeated(self._levels(given), n), int(self.labels.levels))}}
        images = torch.zeros(n, *self.intake.image_shape, dtype=torch.get_default_dtype())
        if self._transformation is None:
            return {"like": (images, _repeated(self._levels(given), n))}
        if given is None:
            raise UserError(f"the run's model draws images given {self.name}: give it images, given=…, to take it of")
        return {"like": (images, self._seen(self._images(given, n)))}

    def _value(self, given: Any) -> Any:
        """What stands under its name in a mapping, else what is given itself."""
        if not isinstance(given, Mapping):
            return given
        if list(given) != [self.name]:
            expected = "images alone; leave it out" if self.name is None else f"{self.name!r} alone"
            raise UserError(f"given={dict(given)!r}: the run's pair is given {expected}")
        return given[self.name]

    @property
    def _transformation(self) -> DictConfig | None:
        return self.configuration.condition.get("transformation")

    def _seen(self, data: ImageDataset) -> Tensor:
        return built(self.configuration.condition.transformation, nn.Module)(data.observed())

    def _images(self, given: Any, count: int) -> ImageDataset:
        """As many images as there are others, in turn where there are fewer."""
        data = self.intake.dataset(given)
        return data if len(data) == count else data.subset(np.arange(count) % len(data))

    def _levels(self, given: Any, *, unknown: bool = False) -> Tensor:
        """(level,) by number, of numbers or names; where some may be ``unknown``, those are."""
        told: Any = self.configuration.condition if self.wanted else self.labels
        levels = int(told.levels)
        numbers = {str(name): level for level, name in enumerate(self.names)}
        known = f"{', '.join(numbers)}, or " if numbers else ""
        expected = f"a level of {self.name!r}, one for all or one for each: {known}whole numbers below {levels}"
        if unknown:
            numbers[str(told.unknown)] = UNKNOWN
            expected += f", {UNKNOWN} for one that is not known"
        if given is None:
            raise UserError(f"the run's model is conditional and was given images alone; give given=, {expected}")
        values = np.atleast_1d(np.asarray(given.cpu() if isinstance(given, Tensor) else given))
        if values.dtype.kind in "US" and set(map(str, values)) <= numbers.keys():
            values = np.array([numbers[str(value)] for value in values])
        least = UNKNOWN if unknown else 0
        if values.dtype.kind not in "iu" or values.ndim != 1 or values.min() < least or values.max() >= levels:
            raise UserError(f"given={given!r}: expected {expected}")
        return torch.from_numpy(values.astype(np.int64))


def _numbers(given: Any) -> Tensor:
    try:
        return torch.atleast_1d(torch.as_tensor(given))
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"given={given!r}: expected numbers, one row an image, as the run was trained with") from None


def _repeated(values: Tensor, count: int) -> Tensor:
    if len(values) not in (1, count):
        raise UserError(f"given holds {len(values)} values for {count} images: give one for all, or one for each")
    return values.expand(count, *values.shape[1:]) if len(values) == 1 else values
