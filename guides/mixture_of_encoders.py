"""The mixture of encoders as a guide."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.distributions import UniformMixture
from ppvae.errors import check_whole
from ppvae.pair.program import Program

__all__ = ["MixtureOfEncoders"]


class MixtureOfEncoders(Program):
    """q(z | x) = (1/A) Σ_a N(z; μ_a(x), diag σ_a(x)²): A heads on one encoder, with log σ_a² from each.

    A draw takes one head uniformly and is scored under all of them: its pathwise gradient is unbiased, as the weights
    carry no parameters. A = 1 is :class:`~guides.MeanFieldNormal`.

    Shapes: images (image, C, H, W); site ``z`` (image, latent).
    Source: Hotti et al. 2024, with linear heads in place of one-hot codes.
    """

    def __init__(self, encoder: nn.Module, latents: int, components: int = 4) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_whole("components", components, 1)
        self.encoder = encoder
        self.heads = (components, latents)
        self.loc = nn.Linear(feature_count(encoder), components * latents)
        self.log_variance = nn.Linear(feature_count(encoder), components * latents)

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", images.shape[-4], dim=-1):
            return pyro.sample("z", self.posterior(images, *given), infer={"event_dims": ["latent"]})

    def posterior(self, images: torch.Tensor, *given: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x) as a distribution: batch shape (image,), event shape (latent,)."""
        features = self.encoder(images, *given)
        loc, log_variance = (head(features).unflatten(-1, self.heads) for head in (self.loc, self.log_variance))
        return UniformMixture(dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1))
