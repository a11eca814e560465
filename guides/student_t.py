"""The Student-t guide, the Normal-Gamma guide with its precision integrated out."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from guides.normal_gamma import NormalGammaGuide
from ppvae.pair.program import Program, record

__all__ = ["StudentTGuide"]


class StudentTGuide(Program):
    """q(z | x) = ∫ q(λ, z | x) dλ of :class:`~guides.NormalGammaGuide`, whose options these are.

    That is Student-t with 2·α(p) degrees of freedom, location μ(x) and scale² = β(p)/α(p), independent over latents.
    With the Student-t prior the bound is tighter than the Normal-Gamma pair's at equal parameters, since the joint KL
    is never below the marginal one: ELBO of the pair ≤ ELBO here ≤ log p(x).

    Shapes: images (image, C, H, W); site ``z`` and the recorded ``p``, each (image, latent).
    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latents: int,
        *,
        informative: tuple[float, float] = (3.65, 0.24),
        uninformative: tuple[float, float] = (902.0, 810.9),
        slope: float = 30.0,
        endpoint_exact: bool = False,
        initial_probability: float = 0.5,
    ) -> None:
        super().__init__()
        self.joint = NormalGammaGuide(
            encoder,
            latents,
            informative=informative,
            uninformative=uninformative,
            slope=slope,
            endpoint_exact=endpoint_exact,
            initial_probability=initial_probability,
        )

    def forward(self, images: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        features = self.joint.encoder(images, *given)
        with pyro.plate("image", images.shape[-4], dim=-1):
            p = record("p", self.joint.logit(features).sigmoid())
            return pyro.sample("z", self._student(features, p), infer={"event_dims": ["latent"]})

    def posterior(self, images: torch.Tensor, *given: torch.Tensor) -> dist.TorchDistribution:
        """q(z | x) as a distribution: batch shape (image,), event shape (latent,)."""
        features = self.joint.encoder(images, *given)
        return self._student(features, self.joint.logit(features).sigmoid())

    def _student(self, features: torch.Tensor, p: torch.Tensor) -> dist.TorchDistribution:
        shape, rate = self.joint.gamma_parameters(p)
        return dist.StudentT(2 * shape, self.joint.loc(features), (rate / shape).sqrt()).to_event(1)
