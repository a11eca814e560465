"""The logistic distribution in 256 bins, the outer two reaching to infinity: mass, draws and moments."""

import math

import torch
from torch.nn.functional import logsigmoid, softplus

from ppvae.distributions.eight_bit import LEVELS

__all__ = ["LEAST_LOG_SCALE", "bin_moments", "draw_level", "level_at", "log_mass", "smooth_mean"]

TOP = LEVELS - 1
LEAST_LOG_SCALE = -7 - math.log(2)  # PixelCNN++'s −7, there for pixels in [−1, 1]


def log_mass(level: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """log[σ(u) − σ(l)], u and l the bin's upper and lower edge less the mean, over the scale; nats.

    As log σ(u) + log σ(−l) + log(1 − e^{l−u}), where nothing cancels: no bin is too small for it. The lowest bin is
    σ(u), the highest σ(−l). Edges are taken in grey levels, where they are exact in floating point, so that
    neighbouring bins meet and the masses sum to one.

    Shapes: all arguments broadcast; level in 0 … 255, mean and scale for pixels in [0, 1].
    """
    width = (-log_scale).exp() / TOP
    below = logsigmoid((level + 0.5 - TOP * mean) * width)
    above = logsigmoid((TOP * mean - level + 0.5) * width)
    inside = below + above + _log1mexp(width, -log_scale - math.log(TOP))
    return torch.where(level < 0.5, below, torch.where(level > TOP - 0.5, above, inside))


def _log1mexp(width: torch.Tensor, log_width: torch.Tensor) -> torch.Tensor:
    """log(1 − e^{−width}); by its series below 1e-6, where ``width`` may have underflown."""
    exact = (-torch.expm1(-width.clamp(min=1e-6))).log()
    return torch.where(width > 1e-6, exact, log_width - 0.5 * width)


def level_at(logit: torch.Tensor | float, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """The level at a quantile, given as log u − log(1 − u): the logistic's own quantile rounded into the bins."""
    return (TOP * (mean + log_scale.exp() * logit)).round().clamp(0, TOP)


def draw_level(mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """One exact draw a bin."""
    uniform = torch.rand_like(mean)
    return level_at(uniform.log() - torch.log1p(-uniform), mean, log_scale)


def bin_moments(mean: torch.Tensor, log_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """E[x] and E[x²] of a pixel x = level/255: Σ_k P(level > k) and Σ_k (2k + 1) P(level > k), k = 0 … 254.

    Exact; 255 passes over tensors of the arguments' size.
    """
    width = (-log_scale).exp() / TOP
    first = second = torch.zeros_like(mean)
    for level in range(TOP):
        above = torch.sigmoid((TOP * mean - level - 0.5) * width)
        first, second = first + above, second + (2 * level + 1) * above
    return first / TOP, second / TOP**2


def smooth_mean(mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """E[x] without the rounding: s log(1 + e^{m/s}) − s log(1 + e^{(m−1)/s}), the logistic's clipped to [0, 1].

    Off by less than half a level, and by less than 0.02 of one where the scale is a level or more.
    """
    scale = log_scale.exp()
    return scale * (softplus(mean / scale) - softplus((mean - 1) / scale))
