"""8-bit pixels, each with PixelCNN++'s mixture of discretised logistics."""

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import DiscretisedLogisticMixture
from ppvae.errors import check_whole
from ppvae.likelihoods.maps import check_maps, split_maps

__all__ = ["LogisticMixtureLikelihood"]


class LogisticMixtureLikelihood(Described, nn.Module):
    """p(x | z) = Σ_k π_k Π_c DiscretisedLogistic(x_c; m_kc, s_kc), independent over pixels; for 8-bit images.

    The channels of a pixel share one component, and a channel's mean is linear in the channels before it, with
    coefficients tanh(·): green's in red, blue's in red and green. One channel has no such terms; any number will do.
    The decoder gives PixelCNN++'s parameters, for pixels in [−1, 1]: zeros mean a grey of ½; log s is at least −7.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W); the decoder gives
    (..., ``components``·(C + 1)(C + 2)/2, H, W), component by component: logit, C means, C log-scales, C(C − 1)/2
    couplings.
    Errors: :class:`~ppvae.errors.UserError` for no components, or a decoder with another number of maps.
    Source: Salimans et al. 2017 (PixelCNN++), Sec. 2.1 and 2.2.
    """

    kinds = frozenset({"binary", "8-bit"})
    distortion_floor = 0.0

    def __init__(self, decoder: nn.Module, components: int = 10) -> None:
        super().__init__()
        check_whole("components", components, 1)
        check_maps(decoder, lambda channels: self.decoder_maps(channels, components=components))
        self.decoder = decoder
        self.components = components

    @staticmethod
    def decoder_maps(channels: int, components: int = 10, **_settings: object) -> int:
        """Maps that the decoder must give: ``components``·(1 + 2C + C(C − 1)/2) for C channels."""
        return components * (channels + 1) * (channels + 2) // 2

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return DiscretisedLogisticMixture.from_maps(split_maps(self.decoder(z), self.components))
