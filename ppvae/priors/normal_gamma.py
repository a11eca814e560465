"""The Normal-Gamma prior of Jouffroy et al."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import PrecisionNormal
from ppvae.errors import check_positive, check_whole

__all__ = ["NormalGammaPrior"]


class NormalGammaPrior(Described, nn.Module):
    """p(λ) p(z | λ) = Gamma(λ; shape, rate) N(z; 0, 1/λ), independent over latents.

    The defaults are the paper's (Sec. IV). The marginal of z is Student-t with 2·shape degrees of freedom and
    variance rate / (shape − 1): 0.499, not one. Sites ``precision`` (latent), then ``z`` (latent).

    Errors: :class:`~ppvae.errors.UserError` for a shape or rate that is not positive.
    """

    def __init__(self, latents: int, shape: float = 8.25, rate: float = 3.62) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_positive("shape", shape)
        check_positive("rate", rate)
        self.latents = latents
        self.register_buffer("loc", torch.zeros(latents), persistent=False)
        self.register_buffer("shape", torch.full((latents,), float(shape)), persistent=False)
        self.register_buffer("rate", torch.full((latents,), float(rate)), persistent=False)

    def forward(self) -> torch.Tensor:
        gamma = dist.Gamma(self.shape, self.rate).to_event(1)
        precision = pyro.sample("precision", gamma, infer={"event_dims": ["latent"], "parameter_of": "z"})
        normal = PrecisionNormal(self.loc, precision).to_event(1)
        return pyro.sample("z", normal, infer={"event_dims": ["latent"]})
