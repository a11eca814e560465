"""An objective under a weight of its KL part that changes from step to step."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from ppvae.objectives.objective import Objective
from ppvae.pair.program import Data
from ppvae.pair.sites import Site
from ppvae.pair.terms import Estimator, Terms

__all__ = ["Weighted"]


@dataclass(frozen=True, kw_only=True)
class Weighted(Objective):
    """``objective`` whose KL part, whatever it adds to the distortion, is multiplied by :meth:`weight`.

    What is no KL, as a penalty of the weights (:class:`~ppvae.objectives.Penalised`), is left alone. Histories hold the
    plain ELBO all the same, and the weight under the name ``reported_as``.
    """

    objective: Objective
    reported_as = "weight"

    @abc.abstractmethod
    def weight(self, step: int) -> float:
        """What multiplies the KL part in a training step."""

    @property
    def estimator(self) -> Estimator:
        return self.objective.estimator

    @property
    def state(self) -> nn.Module | None:
        return self.objective.state

    def numbers(self, step: int) -> tuple[float, ...]:
        return (self.weight(step), *self.objective.numbers(step))

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        return self.objective.evaluate(model, guide, data, numbers[1:], warmth * numbers[0])

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        return self.objective.measure(model, guide, data)

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        return self.objective.loss(terms, numbers[1:], warmth * numbers[0])

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        return {self.reported_as: numbers[0], **self.objective.reported(numbers[1:])}

    def bound_to(self, images: int, model: Callable, guide: Callable) -> Self:
        return replace(self, objective=self.objective.bound_to(images, model, guide))

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        self.objective.check(drawn, wanted)

    def check_observed(self, observed: Mapping[str, Site]) -> None:
        self.objective.check_observed(observed)
