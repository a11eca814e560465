"""KL annealing around any objective."""

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

from ppvae.errors import UserError, check_choice, check_positive, check_whole
from ppvae.objectives.weighted import Weighted

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
class Annealed(Weighted):
    """``objective`` with its KL part under a weight that rises from ``start`` to 1 over ``steps`` training steps.

    The weight multiplies whatever the objective adds to the distortion (β·KL, the sum of free bits, the capacity's
    penalty, the total correlation's three parts), and log q − log p inside an importance-weighted bound; not a
    penalty of the weights (:class:`~ppvae.objectives.Penalised`), which is no KL. Histories hold the plain ELBO all
    the same. A weight of exactly zero lets the guide's scales collapse to zero, so ``start`` is
    small and positive by default.

    Errors: :class:`~ppvae.errors.UserError` for an unknown schedule or numbers out of range.
    Sources: Bowman et al. 2016; Fu et al. 2019 (cyclical).
    """

    reported_as = "warmth"
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

    def weight(self, step: int) -> float:
        return warmth(self.schedule, step / self.steps, start=self.start, cycles=self.cycles, rising=self.rising)

    @property
    def settles(self) -> int:
        return max(self.steps, self.objective.settles)  # a cycle reaches 1 before the last one does
