"""An objective around another one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from ppvae.objectives.objective import Objective
from ppvae.pair.program import Data
from ppvae.pair.sites import Site
from ppvae.pair.terms import Estimator, Terms

__all__ = ["Around"]


@dataclass(frozen=True, kw_only=True)
class Around(Objective):
    """``objective`` with something added or changed: as it is wherever a subclass does not say otherwise.

    Its ``state`` is the subclass's to hand on, as a property or within one of its own.
    """

    objective: Objective

    @property
    def estimator(self) -> Estimator:
        return self.objective.estimator

    @property
    def settles(self) -> int:
        return self.objective.settles

    def numbers(self, step: int) -> tuple[float, ...]:
        return self.objective.numbers(step)

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        return self.objective.evaluate(model, guide, data, numbers, warmth)

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        return self.objective.measure(model, guide, data)

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        return self.objective.loss(terms, numbers, warmth)

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.objective.reported(numbers)

    def bound_to(self, images: int, model: Callable, guide: Callable) -> Self:
        return replace(self, objective=self.objective.bound_to(images, model, guide))

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        self.objective.check(drawn, wanted)

    def check_observed(self, observed: Mapping[str, Site]) -> None:
        self.objective.check_observed(observed)
