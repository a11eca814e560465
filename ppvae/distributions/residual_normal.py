"""Normals of a hierarchy: the prior's, and the posterior's relative to it."""

from dataclasses import dataclass
from math import e, log
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch.nn.functional import softplus

from ppvae.errors import UserError, check_choice, check_positive

__all__ = ["ResidualNormals", "Scales"]

Scales = Literal["exp", "softplus"]
type Raw = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class ResidualNormals:
    """p = N(μ, σ²) and q = N(μ + Δμ, (σ·Δσ)²) from a network's unbounded numbers, which at zero mean μ = Δμ = 0 and
    σ = Δσ = 1.

    KL(q ‖ p) = ½ (Δμ²/σ² + Δσ² − log Δσ² − 1), so that a posterior that stays at its prior costs nothing wherever the
    prior goes. ``scales``: how a number r becomes a scale: exp(r), or softplus(r + log(e − 1)), which grows only
    linearly. ``clamp`` c bounds locations and log scales, residuals added, to c·tanh(·/c), as the published code does
    with c = 5; the KL is then no longer that of the residuals. None, the default, leaves both exact.

    Shapes: raw locations and scales of one shape or broadcastable, that of the distributions.
    Errors: :class:`~ppvae.errors.UserError` for an unknown word, a clamp that is not positive, or one of softplus.
    Source: Vahdat and Kautz 2020 (NVAE), Eq. 2; Hazami et al. 2022 ("Efficient-VDVAE"), Sec. 4, for softplus.
    """

    scales: Scales = "exp"
    clamp: float | None = None

    def __post_init__(self) -> None:
        check_choice("scales", self.scales, get_args(Scales))
        if self.clamp is not None:
            check_positive("clamp", self.clamp)
            if self.scales != "exp":
                raise UserError(f"clamp={self.clamp} with scales={self.scales}: a clamp bounds log scales; give exp")

    def prior(self, raw: Raw) -> dist.Normal:
        """p of its raw location and scale."""
        loc, scale = raw
        return dist.Normal(self._bounded(loc), self._scale(scale))

    def posterior(self, raw: Raw, residual: Raw) -> dist.Normal:
        """q of the prior's raw numbers and of its own, relative to them."""
        (loc, scale), (shift, ratio) = raw, residual
        if self.scales == "exp":  # exponents add, whatever bounds them
            return dist.Normal(self._bounded(loc + shift), self._scale(scale + ratio))
        return dist.Normal(loc + shift, self._scale(scale) * self._scale(ratio))

    def log_scale(self, raw: torch.Tensor) -> torch.Tensor:
        """Logarithm of what a number becomes as a scale."""
        return self._bounded(raw) if self.scales == "exp" else self._scale(raw).log()

    def _scale(self, raw: torch.Tensor) -> torch.Tensor:
        return self._bounded(raw).exp() if self.scales == "exp" else softplus(raw + log(e - 1))

    def _bounded(self, value: torch.Tensor) -> torch.Tensor:
        return value if self.clamp is None else self.clamp * torch.tanh(value / self.clamp)
