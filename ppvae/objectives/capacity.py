"""The β-VAE with controlled capacity."""

from dataclasses import dataclass
from typing import Any, final, get_args

import torch

from ppvae.errors import check_choice, check_not_negative, check_positive, check_whole
from ppvae.objectives.objective import Objective, score_gradient
from ppvae.pair.terms import Estimator, Terms
from ppvae.processes import mean_over_processes

__all__ = ["Capacity"]


@final
@dataclass(frozen=True, kw_only=True)
class Capacity(Objective):
    """Distortion + γ·|KL − C(t)|, with the capacity C ramped linearly from ``start`` to ``stop`` nats over ``steps``.

    KL is the mean over the batch, of all processes, as in the published code; ``per_image`` takes the distance image by
    image. ``gamma``: with γ above −dD/dKL at KL = C the optimum has KL = C. At γ = 1, as the slides write it, KL is
    only pushed up to C from below: above C the objective is the ELBO plus a constant. C = 0 is the β-VAE with β = γ,
    where the KL has a closed form (a sampled one may be negative).

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    Source: Burgess et al. 2018, "Understanding disentangling in β-VAE", Eq. 8.
    """

    gamma: float = 1000.0
    start: float = 0.0
    stop: float = 25.0
    steps: int = 25_000
    per_image: bool = False
    estimator: Estimator = "auto"

    def __post_init__(self) -> None:
        check_positive("gamma", self.gamma)
        check_not_negative("start", self.start)
        check_not_negative("stop", self.stop)
        check_whole("steps", self.steps, 1)
        check_choice("estimator", self.estimator, get_args(Estimator))

    def numbers(self, step: int) -> tuple[float, ...]:
        """C(t), nats."""
        return (self.start + (self.stop - self.start) * min(1.0, step / self.steps),)

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """C as ``capacity``, nats."""
        return {"capacity": numbers[0]}

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        excess = terms.rate - numbers[0]
        if self.per_image:
            cost = terms.distortion + warmth * self.gamma * excess.abs()
            return cost.mean() + score_gradient(cost, terms.score)
        mean = mean_over_processes(excess.mean())
        value = terms.distortion.mean() + warmth * self.gamma * mean.abs()
        slope = warmth * self.gamma * mean.detach().sign()
        return value + score_gradient(terms.distortion + slope * terms.rate, terms.score)
