"""KL annealing around any objective."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, final, get_args

import torch
from torch import nn

from ppvae.errors import UserError, check_choice, check_positive, check_whole
from ppvae.objectives.objective import Objective
from ppvae.pair.program import Data
from ppvae.pair.sites import Site
from ppvae.pair.terms import Estimator, Terms

__all__ = ["Annealed", "Schedule", "warmth"]

Schedule = Literal["linear", "sigmoid", "cosine", "cyclical"]
STEEPNESS = 12.0  # of the sigmoid: it covers 99.5 % of the way before its rescaling to 0 and 1


def warmth(schedule: Schedule, progress: float, *, start: float = 0.0, cycles: int = 4, rising: float = 0.5) -> float:
    """Weight of the KL at ``progress`` = step / steps: ``start`` at 0, exactly 1 from 1 on.

    ``linear`` and ``cosine`` (half a period) rise once; ``sigmoid`` does so steeply at ½ (Bowman et al. 2016), rescaled
    to meet both ends; ``cyclical`` restarts ``cycles`` times, rising linearly over the share ``rising`` of each cycle
    and staying at 1 for its rest (Fu et al. 2019).
    """
    if progress >= 1:
        return 1.0
    if schedule == "cyclical":
        share = min(1.0, math.fmod(progress * cycles, 1.0) / rising)
    elif schedule == "sigmoid":
        low, high = (1 / (1 + math.exp(STEEPNESS * side)) for side in (0.5, -0.5))
        share = (1 / (1 + math.exp(-STEEPNESS * (progress - 0.5))) - low) / (high - low)
    else:
        share = 0.5 * (1 - math.cos(math.pi * progress)) if schedule == "cosine" else progress
    return start + (1 - start) * share


@final
@dataclass(frozen=True, kw_only=True)
class Annealed(Objective):
    """``objective`` with its KL part under a weight that rises from ``start`` to 1 over ``steps`` training steps.

    The weight multiplies whatever the objective adds to the distortion (β·KL, the sum of free bits, the capacity's
    penalty, the total correlation's three parts), and log q − log p inside an importance-weighted bound; not a
    penalty of the weights (:class:`~ppvae.objectives.Penalised`), which is no KL. Histories hold the plain ELBO all
    the same. A weight of exactly zero lets the guide's scales collapse to zero, so ``start`` is
    small and positive by default.

    Errors: :class:`~ppvae.errors.UserError` for an unknown schedule or numbers out of range.
    Sources: Bowman et al. 2016; Fu et al. 2019 (cyclical).
    """

    objective: Objective
    schedule: Schedule = "linear"
    steps: int = 10_000
    start: float = 1e-4
    cycles: int = 4
    rising: float = 0.5

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, get_args(Schedule))
        check_whole("steps", self.steps, 1)
        check_whole("cycles", self.cycles, 1)
        check_positive("rising", self.rising)
        for name in ("start", "rising"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)!r}: expected a number from 0 to 1")

    @property
    def estimator(self) -> Estimator:
        return self.objective.estimator

    @property
    def state(self) -> nn.Module | None:
        return self.objective.state

    def numbers(self, step: int) -> tuple[float, ...]:
        shape = {"start": self.start, "cycles": self.cycles, "rising": self.rising}
        return (warmth(self.schedule, step / self.steps, **shape), *self.objective.numbers(step))

    @property
    def settles(self) -> int:
        return max(self.steps, self.objective.settles)  # a cycle reaches 1 before the last one does

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        return self.objective.evaluate(model, guide, data, numbers[1:], warmth * numbers[0])

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        return self.objective.measure(model, guide, data)

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        return self.objective.loss(terms, numbers[1:], warmth * numbers[0])

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """The KL's weight as ``warmth``."""
        return {"warmth": numbers[0], **self.objective.reported(numbers[1:])}

    def bound_to(self, images: int, model: Callable, guide: Callable) -> Self:
        return replace(self, objective=self.objective.bound_to(images, model, guide))

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        self.objective.check(drawn, wanted)
