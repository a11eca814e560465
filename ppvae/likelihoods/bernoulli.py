"""Binary pixels."""

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import PartlyObserved, SurrogateBernoulli
from ppvae.likelihoods.maps import check_maps

__all__ = ["BernoulliLikelihood"]


class BernoulliLikelihood(Described, nn.Module):
    """p(x | z) = Bernoulli(x; logits = decoder(z)), independent over pixels; for images of zeros and ones.

    On grey pixels this is no likelihood (it has no normaliser): Pyro's validation refuses them. ``surrogate`` lets
    them through, as much of the literature does; its numbers are then cross-entropies, comparable with no nats.
    ``missing``: NaN is a missing entry and is left out, as in tables.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W).
    Errors: :class:`~ppvae.errors.UserError` for a decoder with another number of maps than channels.
    """

    kinds = frozenset({"binary"})
    distortion_floor = 0.0
    otherwise = "accept cross-entropies marked as such (surrogate=True)"  # for images of another kind

    def __init__(self, decoder: nn.Module, *, surrogate: bool = False, missing: bool = False) -> None:
        super().__init__()
        check_maps(decoder, self.decoder_maps)
        self.decoder = decoder
        self.surrogate, self.partly_observed = surrogate, missing

    @staticmethod
    def decoder_maps(channels: int, **_settings: object) -> int:
        """Maps that the decoder must give: the logit of each channel."""
        return channels

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        pixels = SurrogateBernoulli if self.surrogate else dist.Bernoulli
        entries = pixels(logits=self.decoder(z))
        return PartlyObserved(entries, 3) if self.partly_observed else entries.to_event(3)
