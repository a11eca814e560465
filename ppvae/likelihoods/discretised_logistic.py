"""8-bit pixels, each with a discretised logistic distribution."""

import math

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import DiscretisedLogistic
from ppvae.likelihoods.maps import check_maps, split_maps

__all__ = ["DiscretisedLogisticLikelihood"]


class DiscretisedLogisticLikelihood(Described, nn.Module):
    """p(x | z) = DiscretisedLogistic(x; m, s), independent over pixels and channels; for 8-bit images.

    The decoder gives m and log s as PixelCNN++ does, for pixels in [−1, 1]: zeros mean a grey of ½, and a mean beyond
    the range puts the mass on black or white. log s is at least −7 there.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W); the decoder gives
    (..., 2·C, H, W), means first.
    Errors: :class:`~ppvae.errors.UserError` for a decoder with another number of maps.
    Source: Kingma et al. 2016, App. C.5, with the edge bins of Salimans et al. 2017 (PixelCNN++).
    """

    kinds = frozenset({"binary", "8-bit"})
    distortion_floor = 0.0

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        check_maps(decoder, self.decoder_maps)
        self.decoder = decoder

    @staticmethod
    def decoder_maps(channels: int, **_settings: object) -> int:
        """Maps that the decoder must give: a mean and a log-scale a channel."""
        return 2 * channels

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        mean, log_scale = split_maps(self.decoder(z), 2).unbind(-4)
        return DiscretisedLogistic(0.5 + 0.5 * mean, log_scale - math.log(2)).to_event(3)
