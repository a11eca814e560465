"""The ELBO with a weighted rate."""

from dataclasses import dataclass
from typing import Any, final, get_args

import torch

from ppvae.errors import UserError, check_choice, check_not_negative
from ppvae.objectives.objective import Objective, score_gradient
from ppvae.pair.terms import Estimator, Terms

__all__ = ["BetaELBO"]


@final
@dataclass(frozen=True, kw_only=True)
class BetaELBO(Objective):
    """−ELBO with a weighted rate: E_q[−log p(x | z)] + β·KL(q(z | x) ‖ p(z)), nats per image.

    β = 1 is the ELBO; any β ≥ 0 is allowed, 0 included. ``beta_norm`` gives it normalised instead:
    β = β_norm·N/M with N pixels × channels, of all observed sites, and M latents, of all codes. β weighs the rate
    alone, sums run over pixels and latents, and the mean over images. The KL of discrete sites, such as ``cluster``,
    has the weight ``discrete`` instead, one where it is not given. A guide's site with
    ``infer={"enumerate": "parallel"}`` is summed out exactly.

    ``estimator``: ``mean_field`` uses closed-form KLs site by site (Jouffroy et al., Eqs. 7-10), valid where model and
    guide draw their sites in the same order; ``trace`` the sampled log q − log p of Pyro's ``Trace_ELBO``; ``auto``
    the closed form of each site that has one, in a pair that is valid for it, and the sample elsewhere. All add
    the score function of sites that are not fully reparameterised, with a leave-one-out baseline over the batch.

    Errors: :class:`~ppvae.errors.UserError` for a negative weight, both weights, or an unknown estimator.
    Sources: Higgins et al. 2017, Eq. 4; for discrete sites Anonymous 2019, "Explicit information placement on latent
    variables using auxiliary generative modelling task", Eq. 11.
    """

    beta: float | None = None
    beta_norm: float | None = None
    discrete: float = 1.0
    estimator: Estimator = "auto"

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, get_args(Estimator))
        if self.beta is not None and self.beta_norm is not None:
            raise UserError(f"beta={self.beta} and beta_norm={self.beta_norm} are both given; give one of them")
        for name, value in (("beta", self.beta), ("beta_norm", self.beta_norm), ("discrete", self.discrete)):
            if value is not None:
                check_not_negative(name, value)

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        beta = self._beta(terms)
        rate = beta * terms.rate + (self.discrete - beta) * terms.discrete_rate
        cost = terms.distortion + warmth * rate
        return cost.mean() + score_gradient(cost, terms.score)

    def _beta(self, terms: Terms) -> float:
        if self.beta_norm is not None:
            return self.beta_norm * terms.pixels / terms.latents
        return 1.0 if self.beta is None else self.beta
