"""Binary pixels."""

import pyro.distributions as dist
import torch
from torch import nn

__all__ = ["BernoulliLikelihood"]


class BernoulliLikelihood(nn.Module):
    """p(x | z) = Bernoulli(x; logits = decoder(z)), independent over pixels; for images of zeros and ones.

    On grey pixels this is no likelihood (it has no normaliser): Pyro's validation refuses them.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W).
    """

    distortion_floor = 0.0

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.decoder(z)).to_event(3)
