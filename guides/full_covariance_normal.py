"""The normal guide with full covariance."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import pad

from guides.encoders import feature_count
from ppvae.errors import check_whole
from ppvae.pair.program import Program

__all__ = ["FullCovarianceNormal"]

START = 0.01  # of torch's own initial weights below the diagonal


class FullCovarianceNormal(Program):
    """q(z | x) = N(z; μ(x), LLᵀ), L lower triangular with diagonal exp(½h(x)), near diagonal before training.

    Exact for a linear model with normal noise, where a diagonal guide loses ½(Σ_k log Λ_kk − log |Λ|) nats, Λ the
    posterior's precision. The KL from a diagonal normal prior has a closed form, one number an image.

    Shapes: images (image, C, H, W); site ``z`` (image, latent); latents·(latents − 1)/2 outputs below the diagonal.
    Errors: :class:`~ppvae.errors.UserError` for fewer than two latents.
    Source: Kingma and Welling 2019, Sec. 2.5.1.
    """

    def __init__(self, encoder: nn.Module, latents: int) -> None:
        super().__init__()
        check_whole("latents", latents, 2)
        features = feature_count(encoder)
        self.encoder = encoder
        self.loc = nn.Linear(features, latents)
        self.log_variance = nn.Linear(features, latents)
        self.below = nn.Linear(features, latents * (latents - 1) // 2)
        with torch.no_grad():
            for parameter in self.below.parameters():
                parameter.mul_(START)
        self.register_buffer("place", _places(latents), persistent=False)

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", images.shape[-4], dim=-1):
            return pyro.sample("z", self.posterior(images, *given), infer={"event_dims": ["latent"]})

    def posterior(self, images: torch.Tensor, *given: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x) as a distribution: batch shape (image,), event shape (latent,)."""
        features = self.encoder(images, *given)
        diagonal = (0.5 * self.log_variance(features)).exp().diag_embed()
        below = pad(self.below(features), (1, 0))[..., self.place]
        return dist.MultivariateNormal(self.loc(features), scale_tril=diagonal + below)


def _places(latents: int) -> torch.Tensor:
    """Where each entry of the triangle stands among the outputs, counted from one; zero on and above the diagonal."""
    place = torch.zeros(latents, latents, dtype=torch.long)
    place[*torch.tril_indices(latents, latents, -1)] = torch.arange(1, latents * (latents - 1) // 2 + 1)
    return place
