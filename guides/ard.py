"""The guide of automatic relevance determination."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.encoders import feature_count
from ppvae.errors import UserError
from ppvae.pair.program import Program
from ppvae.priors import ARDPrior

__all__ = ["ARDGuide"]


class ARDGuide(Program):
    """q(α) Πₙ q(zₙ | xₙ): the prior's Gamma for the precisions of all images, N(z; μ(x), diag σ(x)²) for each.

    q(α) is ``prior.posterior()``, whose parameters model and guide share; it is drawn while the prior is trained, and
    KL(q(z | x) ‖ p(z | α)) has a closed form given the draw.

    Shapes: images (image, C, H, W); sites ``precision`` (latent), one for all images, and ``z`` (image, latent).
    Errors: :class:`~ppvae.errors.UserError` for a prior that has no such precisions.
    """

    def __init__(self, encoder: nn.Module, latents: int, prior: ARDPrior) -> None:
        super().__init__()
        if not isinstance(prior, ARDPrior):
            raise UserError(
                f"ARDGuide draws the precision of each of its prior's latents, {type(prior).__name__} shares none: "
                "give prior=ard, or another guide, such as guide=mean_field"
            )
        self.encoder, self.prior = encoder, prior
        self.loc = nn.Linear(feature_count(encoder), latents)
        self.log_variance = nn.Linear(feature_count(encoder), latents)

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        infer = {"event_dims": ["latent"]}
        if self.prior.training:
            pyro.sample("precision", self.prior.posterior(), infer={**infer, "parameter_of": "z"})
        with pyro.plate("image", images.shape[-4], dim=-1):
            return pyro.sample("z", self.posterior(images, *given), infer=infer)

    def posterior(self, images: torch.Tensor, *given: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x) as a distribution: batch shape (image,), event shape (latent,)."""
        features = self.encoder(images, *given)
        return dist.Normal(self.loc(features), (0.5 * self.log_variance(features)).exp()).to_event(1)
