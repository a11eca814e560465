"""The logistic distribution over the 256 levels of an 8-bit pixel."""

import torch
from pyro.distributions import TorchDistribution
from torch.distributions import constraints

from ppvae.distributions.eight_bit import LEVELS, eight_bit, nearest_level
from ppvae.distributions.logistic_bins import LEAST_LOG_SCALE, bin_moments, draw_level, log_mass

__all__ = ["DiscretisedLogistic"]

ONE = torch.Size()


class DiscretisedLogistic(TorchDistribution):
    """P(x = k/255) = σ((x + ½/255 − loc)/s) − σ((x − ½/255 − loc)/s), the outer bins reaching to infinity.

    The masses sum to one; without the edge bins (Kingma et al. 2016, App. C.5) they do not. ``log_scale`` = log s is
    raised to −7 − log 2 where it is lower, as in PixelCNN++ (whose pixels are in [−1, 1]).

    Shapes: loc and log_scale broadcast to the batch shape; event shape (). Values are floats in [0, 1].
    Source: Salimans et al. 2017 (PixelCNN++), Eq. 2 and Sec. 2.1.
    """

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012
    support = eight_bit
    has_rsample = False

    def __init__(self, loc: torch.Tensor, log_scale: torch.Tensor, *, validate_args: bool | None = None) -> None:
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale.clamp(min=LEAST_LOG_SCALE))
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: "DiscretisedLogistic | None" = None) -> "DiscretisedLogistic":
        new = self._get_checked_instance(DiscretisedLogistic, _instance)
        new.loc, new.log_scale = self.loc.expand(batch_shape), self.log_scale.expand(batch_shape)
        super(DiscretisedLogistic, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return log_mass(nearest_level(value), self.loc, self.log_scale)

    def sample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return draw_level(self.loc.expand(shape), self.log_scale.expand(shape)) / (LEVELS - 1)

    @property
    def mean(self) -> torch.Tensor:
        return bin_moments(self.loc, self.log_scale)[0]

    @property
    def variance(self) -> torch.Tensor:
        first, second = bin_moments(self.loc, self.log_scale)
        return second - first.square()
