"""The diagonal normal guide."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.pair.program import Program

__all__ = ["MeanFieldNormal"]


class MeanFieldNormal(Program):
    """q(z | x) = N(z; μ(x), diag σ(x)²), with log σ² from the encoder.

    Shapes: images (image, C, H, W); site ``z`` (image, latent).
    Source: Kingma and Welling 2014, Eq. 9.
    """

    def __init__(self, encoder: nn.Module, latents: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.loc = nn.Linear(feature_count(encoder), latents)
        self.log_variance = nn.Linear(feature_count(encoder), latents)

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", images.shape[-4], dim=-1):
            return pyro.sample("z", self.posterior(images, *given), infer={"event_dims": ["latent"]})

    def posterior(self, images: torch.Tensor, *given: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x) as a distribution: batch shape (image,), event shape (latent,)."""
        features = self.encoder(images, *given)
        return dist.Normal(self.loc(features), (0.5 * self.log_variance(features)).exp()).to_event(1)
