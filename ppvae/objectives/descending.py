"""A weight of the rate that falls, from what no latent pays for to what many do."""

from dataclasses import dataclass
from typing import final

from ppvae.errors import UserError, check_positive, check_whole
from ppvae.objectives.weighted import Weighted

__all__ = ["Descending"]


@final
@dataclass(frozen=True, kw_only=True)
class Descending(Weighted):
    """``objective`` with its KL part under weights that fall from ``start`` to ``stop``, each by the same factor.

    Each of the ``levels`` weights holds for ``steps`` training steps, the last one for good; the history has it as
    ``weight``. Latents enter one after another, each where what it explains is worth its rate: the objective of a
    :func:`latent path <ppvae.path>``.

    Errors: :class:``~ppvae.errors.UserError` for numbers out of range, and for a weight that rises.
    """

    start: float
    stop: float
    levels: int = 24
    steps: int = 500

    def __post_init__(self) -> None:
        check_positive("start", self.start)
        check_positive("stop", self.stop)
        check_whole("levels", self.levels, 2)
        check_whole("steps", self.steps, 1)
        if not self.stop < self.start:
            raise UserError(f"stop={self.stop!r} is not below start={self.start!r}; give weights that fall")

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each level."""
        ratio = self.stop / self.start
        return tuple(self.start * ratio ** (level / (self.levels - 1)) for level in range(self.levels))

    def weight(self, step: int) -> float:
        return self.weights[min(step // self.steps, self.levels - 1)]

    @property
    def settles(self) -> int:
        return max(self.steps * (self.levels - 1), self.objective.settles)
