"""Normal pixels."""

import math

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.errors import check_positive

__all__ = ["NormalLikelihood"]


class NormalLikelihood(nn.Module):
    """p(x | z) = N(x; sigmoid(decoder(z)), scale²), independent over pixels.

    ``scale`` (in pixel values, images in [0, 1]) is fixed, or with ``learn_scale`` the start of one learned value.
    With a fixed scale, β-VAE at (β, scale) has the same optimum as at (1, scale·√β).

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W).
    Errors: :class:`~ppvae.errors.UserError` for a scale that is not positive.
    """

    def __init__(self, decoder: nn.Module, scale: float = 0.02, *, learn_scale: bool = False) -> None:
        super().__init__()
        check_positive("scale", scale)
        self.decoder = decoder
        log_scale = torch.tensor(math.log(scale))
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)

    @property
    def distortion_floor(self) -> float:
        """−log p(x | z) of a perfect reconstruction, nats per image; zero where the scale is learned."""
        if isinstance(self.log_scale, nn.Parameter):
            return 0.0
        return math.prod(self.decoder.image_shape) * (float(self.log_scale) + 0.5 * math.log(2 * math.pi))

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        mean = self.decoder(z).sigmoid()
        return dist.Normal(mean, self.log_scale.exp().expand_as(mean)).to_event(3)
