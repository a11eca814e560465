"""Normal pixels."""

import math
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import BatchScaleNormal, IsotropicNormal
from ppvae.errors import check_choice, check_positive
from ppvae.likelihoods.maps import check_maps

__all__ = ["NormalLikelihood", "ScaleMode"]

ScaleMode = Literal["fixed", "learned", "optimal"]


class NormalLikelihood(Described, nn.Module):
    """p(x | z) = N(x; sigmoid(decoder(z)), scale²), independent over pixels; a density, of images in [0, 1].

    ``scale`` in pixel values; ``scale_mode`` says what becomes of it. ``fixed``: it stays, and β-VAE at (β, scale) has
    the same optimum as at (1, scale·√β). ``learned``: it is where one learned value starts. ``optimal`` (σ-VAE): it is
    used until the first training step; in training mode each batch is scored under its own best scale, the root mean
    squared error over images, pixels and draws, and in evaluation mode under the last one.

    Valid in training mode with ``optimal``: the loss of a batch, at most that of any fixed scale above 0.0011 (the
    rounding of 8-bit pixels). Not valid: one image's term of it, which is no density of this image, since the scale
    has seen the whole batch, of all processes. What evaluation reports is a density with one scale.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W).
    Errors: :class:`~ppvae.errors.UserError` for a scale that is not positive, an unknown mode, or a decoder with
    another number of maps than channels.
    Source: Rybkin, Daniilidis and Levine 2021 (σ-VAE).
    """

    kinds = frozenset({"binary", "8-bit", "real"})
    mean_range = (0.0, 1.0)

    def __init__(self, decoder: nn.Module, scale: float = 0.02, *, scale_mode: ScaleMode = "fixed") -> None:
        super().__init__()
        check_positive("scale", scale)
        check_choice("scale_mode", scale_mode, get_args(ScaleMode))
        check_maps(decoder, self.decoder_maps)
        self.decoder = decoder
        self.scale_mode = scale_mode
        log_scale = torch.tensor(math.log(scale))
        if scale_mode == "learned":
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=scale_mode == "optimal")

    @staticmethod
    def decoder_maps(channels: int, **_settings: object) -> int:
        """Maps that the decoder must give: the logit of each channel's mean."""
        return channels

    @property
    def distortion_floor(self) -> float:
        """−log p(x | z) of a perfect reconstruction, nats per image; zero where the scale follows the images."""
        if self.scale_mode != "fixed":
            return 0.0
        return math.prod(self.decoder.image_shape) * (float(self.log_scale) + 0.5 * math.log(2 * math.pi))

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        mean = self.decoder(z).sigmoid()
        if self.scale_mode == "optimal" and self.training:
            return BatchScaleNormal(mean, self.log_scale, event_dim=3)
        return IsotropicNormal(mean, self.log_scale.exp(), event_dim=3)
