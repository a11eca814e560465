"""The mixture of discretised logistics of PixelCNN++, whose channels depend on each other."""

import math
from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch.distributions import constraints
from torch.quasirandom import SobolEngine

from ppvae.distributions.eight_bit import LEVELS, eight_bit, nearest_level
from ppvae.distributions.logistic_bins import LEAST_LOG_SCALE, bin_moments, level_at, log_mass, smooth_mean
from ppvae.errors import UserError

__all__ = ["DiscretisedLogisticMixture"]

ONE = torch.Size()
POINTS = 64  # a power of two, where Sobol's points fill the cube evenly
ARGUMENTS = {"logits": 3, "locs": 4, "log_scales": 4, "couplings": 4}  # and their event dims


class DiscretisedLogisticMixture(TorchDistribution):
    """P(x) = Π_pixels Σ_k softmax(logits)_k Π_c DiscretisedLogistic(x_c; m_kc, s_kc), an image at a time.

    m_kc = loc_kc + Σ_{j<c} coupling_kcj (x_j − ½): a channel's mean depends linearly on the channels before it. One
    component is drawn for all channels of a pixel. ``couplings`` holds the pairs (1, 0), (2, 0), (2, 1), …; for one
    channel there are none. Any number of channels; three are PixelCNN++.

    ``mean`` is exact for the first channel. A later channel's is an average over 64 evenly spread values of the earlier
    ones, within half a grey level of the exact sum over 256 (or 256²) of them, which is out of reach.

    Shapes, for K components and C channels: logits (..., K, H, W), locs and log_scales (..., K, C, H, W), couplings
    (..., K, C(C−1)/2, H, W) → batch shape (...), event shape (C, H, W). Values are floats in [0, 1].
    Source: Salimans et al. 2017 (PixelCNN++), Sec. 2.1 and 2.2.
    """

    arg_constraints = {name: constraints.independent(constraints.real, n) for name, n in ARGUMENTS.items()}  # noqa: RUF012
    support = constraints.independent(eight_bit, 3)
    has_rsample = False

    def __init__(
        self,
        logits: torch.Tensor,
        locs: torch.Tensor,
        log_scales: torch.Tensor,
        couplings: torch.Tensor,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.logits, self.locs, self.couplings = logits, locs, couplings
        self.log_scales = log_scales.clamp(min=LEAST_LOG_SCALE)
        super().__init__(locs.shape[:-4], locs.shape[-3:], validate_args=validate_args)

    @classmethod
    def from_maps(cls, maps: torch.Tensor) -> "DiscretisedLogisticMixture":
        """Of PixelCNN++'s parameters, for pixels in [−1, 1]: zeros mean a grey of ½.

        Shapes: maps (..., K, (C + 1)(C + 2)/2, H, W), of each component its logit, C means, C log-scales and
        C(C − 1)/2 couplings before their tanh.
        Errors: :class:`~ppvae.errors.UserError` for a number of maps that belongs to no C.
        """
        channels = _channels(maps.shape[-3])
        sizes = [1, channels, channels, channels * (channels - 1) // 2]
        logits, means, log_scales, couplings = maps.split(sizes, -3)
        return cls(logits.squeeze(-3), 0.5 + 0.5 * means, log_scales - math.log(2), couplings.tanh())

    def expand(
        self, batch_shape: torch.Size, _instance: "DiscretisedLogisticMixture | None" = None
    ) -> "DiscretisedLogisticMixture":
        new = self._get_checked_instance(DiscretisedLogisticMixture, _instance)
        for name, dims in ARGUMENTS.items():
            tensor = getattr(self, name)
            setattr(new, name, tensor.expand(*batch_shape, *tensor.shape[-dims:]))
        super(DiscretisedLogisticMixture, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        levels = nearest_level(value).unsqueeze(-4).unbind(-3)
        total, earlier = self.logits.log_softmax(-3), []
        for level, log_scale in zip(levels, self.log_scales.unbind(-3), strict=True):
            total = total + log_mass(level, _mean(self.locs, self.couplings, earlier), log_scale)
            earlier.append(level / (LEVELS - 1))
        return total.logsumexp(-3).sum((-2, -1))

    def sample(self, sample_shape: torch.Size = ONE) -> torch.Tensor:
        shape = (*sample_shape, *self.batch_shape, 1 + self.event_shape[0], *self.event_shape[1:])
        with torch.no_grad():
            return self.drawn(torch.rand(shape, dtype=self.locs.dtype, device=self.locs.device))

    def drawn(self, noise: torch.Tensor) -> torch.Tensor:
        """The draw that uniform noise (..., 1 + C, H, W) makes: of the component, then of channel after channel."""
        first, *others = noise.unbind(-3)
        below = self.logits.softmax(-3).cumsum(-3)[..., :-1, :, :] <= first.unsqueeze(-3)
        component = below.sum(-3)
        locs, log_scales, couplings = (
            _chosen(tensor, component) for tensor in (self.locs, self.log_scales, self.couplings)
        )
        drawn = []
        for log_scale, uniform in zip(log_scales.unbind(-3), others, strict=True):
            logit = uniform.log() - torch.log1p(-uniform)
            drawn.append(level_at(logit, _mean(locs, couplings, drawn), log_scale) / (LEVELS - 1))
        return torch.stack(drawn, -3)

    @property
    def mean(self) -> torch.Tensor:
        expected = bin_moments(self.locs[..., :1, :, :], self.log_scales[..., :1, :, :])[0]
        if self.event_shape[0] > 1:
            later = sum(map(self._later_means, _spread_logits(self.event_shape[0] - 1))) / POINTS
            expected = torch.cat([expected, later], -3)
        return (self.logits.softmax(-3).unsqueeze(-3) * expected).sum(-4)

    def _later_means(self, logits: Sequence[float]) -> torch.Tensor:
        """Mean of each channel after the first with the earlier ones at these quantiles: (..., K, C − 1, H, W)."""
        drawn, expected = [], []
        for channel, logit in enumerate(logits):
            mean = _mean(self.locs, self.couplings, drawn)
            drawn.append(level_at(logit, mean, self.log_scales[..., channel, :, :]) / (LEVELS - 1))
            mean = _mean(self.locs, self.couplings, drawn)
            expected.append(smooth_mean(mean, self.log_scales[..., channel + 1, :, :]))
        return torch.stack(expected, -3)


def _spread_logits(channels: int) -> list[list[float]]:
    """Log-odds of points that fill the unit cube evenly, each axis at 1/128, 3/128, … 127/128."""
    uniform = SobolEngine(channels).draw(POINTS, dtype=torch.float64) + 0.5 / POINTS
    return uniform.logit().tolist()


def _mean(locs: torch.Tensor, couplings: torch.Tensor, earlier: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean of the channel after ``earlier``, given these channels' values: channels at dim −3 of both arguments."""
    channel = len(earlier)
    mean = locs[..., channel, :, :]
    for pair, value in enumerate(earlier, channel * (channel - 1) // 2):
        mean = mean + couplings[..., pair, :, :] * (value - 0.5)
    return mean


def _chosen(tensor: torch.Tensor, component: torch.Tensor) -> torch.Tensor:
    """(..., K, n, H, W) at one component a pixel (*draws, ..., H, W): (*draws, ..., n, H, W)."""
    lead, pixels, count = component.shape[:-2], component.shape[-2:], tensor.shape[-3]
    index = component[..., None, None, :, :].expand(*lead, 1, count, *pixels)
    return tensor.expand(*lead, *tensor.shape[-4:]).gather(-4, index).squeeze(-4)


def _channels(maps: int) -> int:
    """C of (C + 1)(C + 2)/2 maps a component; UserError where there is none."""
    channels = (math.isqrt(8 * maps + 1) - 3) // 2
    if channels < 1 or (channels + 1) * (channels + 2) // 2 != maps:
        raise UserError(
            f"the decoder gives {maps} maps a component; the likelihood needs 3 for one channel, 10 for three"
        )
    return channels
