"""When to lower the learning rate and when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass

from ppvae.errors import UserError, check_positive, check_whole

__all__ = ["Plateau"]


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """The stopping rule of Jouffroy et al., Sec. IV.

    When the losses of the last ``window`` epochs vary by less than ``tolerance`` (range over absolute mean), the
    learning rate is multiplied by ``factor``; after ``drops`` such drops the next plateau, counted over epochs since
    the last drop, ends the training.

    ``floor`` (nats per image) is subtracted from each loss before its mean is taken: a density's negative
    log-likelihood has an arbitrary constant, which the paper leaves out (its Eq. 8), and 1 % of it would be far from
    1 % of the error. By default :func:`ppvae.fit` takes the likelihood's ``distortion_floor``.

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    """

    window: int = 5
    tolerance: float = 0.01
    factor: float = 0.1
    drops: int = 1
    floor: float | None = None

    def __post_init__(self) -> None:
        check_whole("window", self.window, 2)
        check_whole("drops", self.drops, 0)
        check_positive("tolerance", self.tolerance)
        check_positive("factor", self.factor)
        if not self.factor < 1:
            raise UserError(f"factor={self.factor}: expected a number between 0 and 1, such as 0.1")

    def reached(self, losses: Sequence[float]) -> bool:
        """Whether the last ``window`` of ``losses`` (one an epoch, since the last drop) are stable."""
        if len(losses) < self.window:
            return False
        last = [loss - (self.floor or 0.0) for loss in losses[-self.window :]]
        return max(last) - min(last) < self.tolerance * abs(sum(last) / len(last))
