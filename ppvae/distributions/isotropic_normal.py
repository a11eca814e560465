"""The normal distribution of whole images, with one scale for all their entries."""

import math

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.util import sum_rightmost
from torch.distributions import constraints
from torch.nn.functional import mse_loss

from ppvae.described import one_line

__all__ = ["IsotropicNormal"]

ONE = torch.Size()


class IsotropicNormal(TorchDistribution):
    """N(x; loc, scale²·I) over the last ``event_dim`` dims: ``Normal(loc, scale).to_event(event_dim)``, faster.

    log p(x) = −‖x − loc‖² / (2·scale²) − n·(log scale + ½ log 2π) for n entries. The scale enters after the sum:
    forwards and backwards that is three passes over the entries, where the factorised normal makes sixteen.

    Shapes: loc (*batch, *event), scale () → batch shape (*batch), event shape (*event).
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - torch's own convention
    has_rsample = True

    def __init__(
        self, loc: torch.Tensor, scale: torch.Tensor, event_dim: int, *, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = loc, scale
        batch = loc.dim() - event_dim
        super().__init__(loc.shape[:batch], loc.shape[batch:], validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "loc", "scale", "event_dim")

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, self.event_dim)

    def expand(self, batch_shape: torch.Size, _instance: "IsotropicNormal | None" = None) -> "IsotropicNormal":
        new = self._get_checked_instance(IsotropicNormal, _instance)
        new.loc, new.scale = self.loc.expand(*batch_shape, *self.event_shape), self.scale
        super(IsotropicNormal, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return self.log_density(self.squared_error(value), self.scale.log())

    def squared_error(self, value: torch.Tensor) -> torch.Tensor:
        """‖x − loc‖², (*batch)."""
        if self._validate_args:
            self._validate_sample(value)
        return sum_rightmost(mse_loss(*torch.broadcast_tensors(self.loc, value), reduction="none"), self.event_dim)

    def log_density(self, squared_error: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
        """log p of a value so far from ``loc``, under any scale ()."""
        constant = self.event_shape.numel() * (log_scale + 0.5 * math.log(2 * math.pi))
        return -0.5 * (-2 * log_scale).exp() * squared_error - constant

    def rsample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * noise

    @property
    def mean(self) -> torch.Tensor:
        return self.loc

    @property
    def mode(self) -> torch.Tensor:
        return self.loc

    @property
    def variance(self) -> torch.Tensor:
        return self.scale.square().expand_as(self.loc)

    def entropy(self) -> torch.Tensor:
        """n·(log scale + ½ log 2πe), (*batch)."""
        entropy = self.event_shape.numel() * (self.scale.log() + 0.5 * math.log(2 * math.pi) + 0.5)
        return entropy.expand(self.batch_shape)
