"""When to lower the learning rate and when to stop."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ppvae.errors import UserError, check_not_negative, check_positive, check_whole

__all__ = ["Patience", "Plateau", "StoppingRule"]


class StoppingRule(abc.ABC):
    """Judges the epochs of a run, once annealing, capacity ramps, delays and warm-up are over.

    Each time :meth:`reached` says so, the learning rate is multiplied by ``factor``; after ``drops`` such drops the
    next time, counted over epochs since the last one, ends the training.
    """

    watches: ClassVar[str]
    """The history's variable that it judges, one number an epoch."""

    factor: float
    drops: int

    @abc.abstractmethod
    def reached(self, losses: Sequence[float]) -> bool:
        """Whether ``losses``, one an epoch since the last drop, say so."""

    def _check_drops(self) -> None:
        check_whole("drops", self.drops, 0)
        check_positive("factor", self.factor)
        if not self.factor < 1:
            raise UserError(f"factor={self.factor}: expected a number between 0 and 1, such as 0.1")


@dataclass(frozen=True, kw_only=True)
class Plateau(StoppingRule):
    """The stopping rule of Jouffroy et al., Sec. IV: the training's losses of the last ``window`` epochs vary by less
    than ``tolerance`` (range over absolute mean).

    ``floor`` (nats per image) is subtracted from each loss before its mean is taken: a density's negative
    log-likelihood has an arbitrary constant, which the paper leaves out (its Eq. 8), and 1 % of it would be far from
    1 % of the error. By default :func:`ppvae.fit` takes the likelihood's ``distortion_floor``.
    ``factor`` and ``drops``: see :class:`StoppingRule`.

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    """

    window: int = 5
    tolerance: float = 0.01
    factor: float = 0.1
    drops: int = 1
    floor: float | None = None

    watches: ClassVar[str] = "loss"

    def __post_init__(self) -> None:
        check_whole("window", self.window, 2)
        check_positive("tolerance", self.tolerance)
        self._check_drops()

    def reached(self, losses: Sequence[float]) -> bool:
        """Whether the last ``window`` of ``losses`` (one an epoch, since the last drop) are stable."""
        if len(losses) < self.window:
            return False
        last = [loss - (self.floor or 0.0) for loss in losses[-self.window :]]
        return max(last) - min(last) < self.tolerance * abs(sum(last) / len(last))


@dataclass(frozen=True, kw_only=True)
class Patience(StoppingRule):
    """Early stopping: for ``window`` epochs the validation's loss has not fallen by ``least`` nats per image below its
    lowest before.

    The trained pair then has the parameters of the epoch whose validation loss is the lowest. It needs
    ``validation=``. ``factor`` and ``drops``: see :class:`StoppingRule`; by default it ends at once.

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    """

    window: int = 10
    least: float = 0.0
    factor: float = 0.1
    drops: int = 0

    watches: ClassVar[str] = "validation_loss"

    def __post_init__(self) -> None:
        check_whole("window", self.window, 1)
        check_not_negative("least", self.least)
        self._check_drops()

    def reached(self, losses: Sequence[float]) -> bool:
        """Whether none of the last ``window`` of ``losses`` is ``least`` below the lowest before them."""
        if len(losses) <= self.window:
            return False
        return min(losses[-self.window :]) >= min(losses[: -self.window]) - self.least
