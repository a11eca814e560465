"""A normal distribution whose scale fits the values that it scores."""

import math

import torch

from ppvae.described import one_line
from ppvae.distributions.isotropic_normal import IsotropicNormal
from ppvae.processes import mean_over_processes

__all__ = ["LEAST_SCALE", "BatchScaleNormal"]

LEAST_SCALE = 1 / (255 * math.sqrt(12))  # the rounding error of 8-bit pixels


class BatchScaleNormal(IsotropicNormal):
    """N(x; loc, σ*²·I) with σ*² = mean (x − loc)² over all values scored: images (of all
    processes), pixels and draws.

    σ* maximises their total log-density. It carries no gradient: by the envelope theorem the total's gradient is the
    same with it. It is at least 1/(255·√12), the rounding error of 8-bit pixels, lest an exact copy be infinitely
    likely. Not a density of one value, as σ* depends on all: for training alone.

    ``log_scale``: a tensor () that :meth:`log_prob` overwrites with log σ*; draws use its value of the beginning.
    Shapes: loc (*batch, *event) with ``event_dim`` event dims.
    Source: Rybkin, Daniilidis and Levine 2021 (σ-VAE).
    """

    def __init__(
        self, loc: torch.Tensor, log_scale: torch.Tensor, event_dim: int, *, validate_args: bool | None = None
    ) -> None:
        self.log_scale = log_scale
        super().__init__(loc, log_scale.exp(), event_dim, validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "loc", "log_scale", "event_dim")

    def expand(self, batch_shape: torch.Size, _instance: "BatchScaleNormal | None" = None) -> "BatchScaleNormal":
        new = super().expand(batch_shape, self._get_checked_instance(BatchScaleNormal, _instance))
        new.log_scale = self.log_scale  # the very tensor: it is written to
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        squares = self.squared_error(value)
        variance = mean_over_processes(squares.detach().mean()) / self.event_shape.numel()
        log_scale = 0.5 * variance.clamp(min=LEAST_SCALE**2).log()
        self.log_scale.copy_(log_scale)
        return self.log_density(squares, log_scale)
