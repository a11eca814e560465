"""The Student-t prior, the Normal-Gamma prior with its precision integrated out."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_positive, check_whole

__all__ = ["StudentTPrior"]


class StudentTPrior(Described, nn.Module):
    """p(z) = ∫ Gamma(λ; shape, rate) N(z; 0, 1/λ) dλ, independent over latents.

    That is Student-t with 2·shape degrees of freedom and scale² = rate / shape; its variance is rate / (shape − 1).
    Scores z as :class:`~ppvae.priors.NormalGammaPrior` does on average over λ. Site ``z`` (latent).

    Errors: :class:`~ppvae.errors.UserError` for a shape or rate that is not positive.
    """

    def __init__(self, latents: int, shape: float = 8.25, rate: float = 3.62) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_positive("shape", shape)
        check_positive("rate", rate)
        self.latents = latents
        self.register_buffer("freedom", torch.full((latents,), 2.0 * shape), persistent=False)
        self.register_buffer("loc", torch.zeros(latents), persistent=False)
        self.register_buffer("scale", torch.full((latents,), (rate / shape) ** 0.5), persistent=False)

    def forward(self) -> torch.Tensor:
        student = dist.StudentT(self.freedom, self.loc, self.scale).to_event(1)
        return pyro.sample("z", student, infer={"event_dims": ["latent"]})
