"""The standard normal prior."""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_whole

__all__ = ["NormalPrior"]


class NormalPrior(Described, nn.Module):
    """p(z) = N(0, I). Site ``z`` (latent), or ``site``, such as ``z_global`` (latent_global)."""

    def __init__(self, latents: int, *, site: str = "z") -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        self.latents, self.site = latents, site
        self.register_buffer("loc", torch.zeros(latents), persistent=False)
        self.register_buffer("scale", torch.ones(latents), persistent=False)

    def forward(self) -> torch.Tensor:
        normal = dist.Normal(self.loc, self.scale).to_event(1)
        return pyro.sample(self.site, normal, infer={"event_dims": ["latent" + self.site.removeprefix("z")]})
