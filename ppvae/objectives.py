"""Objectives: what SVI minimises, built around a model/guide pair and never inside it.

An objective is a callable ``objective(model, guide, images) → scalar`` in nats per image, so it goes straight into
``pyro.infer.SVI(model, guide, optim, loss=objective)``. Training uses its two halves: an estimator measures the pair
(:class:`Terms`), the objective weighs what was measured.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ppvae.errors import UserError, check_choice, check_not_negative
from ppvae.terms import ESTIMATORS, Estimator, Terms

__all__ = ["BetaELBO"]


@dataclass(frozen=True, kw_only=True)
class BetaELBO:
    """−ELBO with a weighted rate: E_q[−log p(x | z)] + β·KL(q(z | x) ‖ p(z)), nats per image.

    β = 1 is the ELBO; any β ≥ 0 is allowed, 0 included. ``beta_norm`` gives it normalised instead:
    β = β_norm·N/M with N = channels × rows × columns and M latents. β weighs the rate alone, sums run over pixels and
    latents, and the mean over images.

    ``estimator``: ``mean_field`` uses closed-form KLs site by site (Jouffroy et al., Eqs. 7-10), valid where model and
    guide draw their sites in the same order; ``trace`` the sampled log q − log p of Pyro's ``Trace_ELBO``. Both add
    the score function of sites that are not fully reparameterised, with a leave-one-out baseline over the batch.

    Errors: :class:`~ppvae.errors.UserError` for a negative weight, both weights, or an unknown estimator.
    Source: Higgins et al. 2017, Eq. 4.
    """

    beta: float | None = None
    beta_norm: float | None = None
    estimator: Estimator = "mean_field"

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, get_args(Estimator))
        if self.beta is not None and self.beta_norm is not None:
            raise UserError(f"beta={self.beta} and beta_norm={self.beta_norm} are both given; give one of them")
        for name, value in (("beta", self.beta), ("beta_norm", self.beta_norm)):
            if value is not None:
                check_not_negative(name, value)

    def __call__(self, model: object, guide: object, images: torch.Tensor) -> torch.Tensor:
        terms = self.measure(model, guide, images)
        return self.loss(terms, torch.tensor(self.weight(0)))

    def measure(self, model: object, guide: object, images: torch.Tensor) -> Terms:
        """Distortion, rates and score terms of one pass through guide and model."""
        return ESTIMATORS[self.estimator](model, guide, images)

    def weight(self, step: int) -> float:
        """The number that may change from step to step, an input of the captured graph; here it does not."""
        del step
        if self.beta_norm is not None:
            return float(self.beta_norm)
        return 1.0 if self.beta is None else float(self.beta)

    def loss(self, terms: Terms, weight: torch.Tensor) -> torch.Tensor:
        """The scalar to differentiate; its value is the weighted −ELBO, its gradient includes the score terms."""
        beta = weight if self.beta_norm is None else weight * terms.pixels / terms.latents
        cost = terms.distortion + beta * terms.rate
        return cost.mean() + _score_gradient(cost, terms.score)


def _score_gradient(cost: torch.Tensor, score: torch.Tensor | None) -> torch.Tensor | Literal[0]:
    """Zero in value; its gradient is the score-function part, each image's cost less the mean of the others'."""
    if score is None:
        return 0
    cost = cost.detach()
    others = (cost.sum() - cost) / max(cost.numel() - 1, 1)
    surrogate = ((cost - others) * score).mean()
    return surrogate - surrogate.detach()
