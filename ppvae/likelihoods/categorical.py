"""8-bit pixels, each level with a probability of its own."""

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import PixelCategorical
from ppvae.distributions.eight_bit import LEVELS
from ppvae.likelihoods.maps import check_maps, split_maps

__all__ = ["CategoricalLikelihood"]


class CategoricalLikelihood(Described, nn.Module):
    """p(x | z) = softmax of 256 logits a sub-pixel, independent over pixels and channels; for 8-bit images.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W); the decoder gives
    (..., 256·C, H, W), all channels of the darkest level first.
    Errors: :class:`~ppvae.errors.UserError` for a decoder with another number of maps.
    Source: van den Oord, Kalchbrenner and Kavukcuoglu 2016, Sec. 2.2.
    """

    kinds = frozenset({"binary", "8-bit"})
    distortion_floor = 0.0

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        check_maps(decoder, self.decoder_maps)
        self.decoder = decoder

    @staticmethod
    def decoder_maps(channels: int, **_settings: object) -> int:
        """Maps that the decoder must give: the logits of 256 levels a channel."""
        return LEVELS * channels

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return PixelCategorical(split_maps(self.decoder(z), LEVELS))
