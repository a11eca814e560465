"""The mixture of normals as a prior."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import VectorMixture
from ppvae.errors import UserError, check_whole

__all__ = ["MixturePrior"]


class MixturePrior(Described, nn.Module):
    """p(z) = Σ_k w_k N(z; m_k, diag s_k²), with learned weights, means and scales. Site ``z`` (latent).

    Before training the weights are equal, the means drawn from N(0, ``spread``) and every s_k² = 1 − ``spread``, so
    that each latent starts with variance one on average: ``spread`` is the share of it between the components.

    Errors: :class:`~ppvae.errors.UserError` for a spread outside (0, 1).
    """

    def __init__(self, latents: int, components: int = 10, spread: float = 0.5) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_whole("components", components, 1)
        if not 0 < spread < 1:
            raise UserError(f"spread={spread!r}: expected a number between 0 and 1")
        self.latents = latents
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(spread**0.5 * torch.randn(components, latents))
        self.log_scale = nn.Parameter(torch.full((components, latents), 0.5 * math.log1p(-spread)))

    def forward(self) -> torch.Tensor:
        components = dist.Normal(self.loc, self.log_scale.exp()).to_event(1)
        return pyro.sample("z", VectorMixture(self.logits, components), infer={"event_dims": ["latent"]})
