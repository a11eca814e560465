"""The logistic distribution in 256 bins, the outer two reaching to infinity: mass, draws and moments."""

import math

import torch
from torch.nn.functional import logsigmoid, softplus

from ppvae.distributions.eight_bit import LEVELS

__all__ = ["LEAST_LOG_SCALE", "bin_moments", "draw_level", "level_at", "log_mass", "smooth_mean"]

TOP = LEVELS - 1
FAR = 1e30  # an infinity whose gradient is zero, not NaN
WIDEST = 80.0  # log-scale; past it the bins' width over the scale underflows in single precision
LEAST_LOG_SCALE = -7 - math.log(2)  # PixelCNN++'s −7, there for pixels in [−1, 1]


def log_mass(level: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """log[σ(u) − σ(l)], u and l the bin's upper and lower edge less the mean, over the scale; nats.

    As log σ(u) + log σ(−l) + log(1 − e^{l−u}), where nothing cancels: no bin is too small for it. The lowest bin's l is
    −∞ and the highest's u is ∞, which leaves them σ(u) and σ(−l). A scale past ``WIDEST`` is scored there, and what it
    is more comes off the inner bins' mass, which is as 1/scale. All without ``torch.where``, a branch an entry on a
    CPU: each costs more than a logarithm.

    Shapes: all arguments broadcast; level in 0 … 255, mean and scale for pixels in [0, 1].
    """
    highest, lowest = (level - (TOP - 0.5)).relu(), (0.5 - level).relu()  # one half in that bin, zero in the others
    outer = -FAR * (highest + lowest)
    excess = (log_scale + (outer - WIDEST)).relu()
    width = (excess - log_scale).exp() / TOP
    half, centre = 0.5 * width, (level - TOP * mean) * width
    below = logsigmoid(torch.add(half + centre, highest, alpha=FAR))
    above = logsigmoid(torch.add(half - centre, lowest, alpha=FAR))
    return below + above + (-torch.expm1(outer - width)).log() - excess


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
