"""An objective under a weight of its KL part that changes from step to step."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ppvae.objectives.around import Around
from ppvae.objectives.objective import Objective
from ppvae.pair.program import Data
from ppvae.pair.terms import Terms

__all__ = ["Weighted"]


@dataclass(frozen=True, kw_only=True)
class Weighted(Around):
    """``objective`` whose KL part, whatever it adds to the distortion, is multiplied by :meth:`weight`.

    What is no KL, as a penalty of the weights (:class:`~ppvae.objectives.Penalised`), is left alone. Histories hold the
    plain ELBO all the same, and the weight under the name ``reported_as``.
    """

    reported_as = "weight"

    @abc.abstractmethod
    def weight(self, step: int) -> float:
        """What multiplies the KL part in a training step."""

    @property
    def state(self) -> nn.Module | None:
        return self.objective.state

    @property
    def settles(self) -> int:
        return max(Objective.settles.fget(self), self.objective.settles)

    def numbers(self, step: int) -> tuple[float, ...]:
        return (self.weight(step), *self.objective.numbers(step))

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        return self.objective.evaluate(model, guide, data, numbers[1:], warmth * numbers[0])

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        return self.objective.loss(terms, numbers[1:], warmth * numbers[0])

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        return {self.reported_as: numbers[0], **self.objective.reported(numbers[1:])}
