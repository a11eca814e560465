"""The model: p(z) p(x | z)."""

import pyro
import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.pair.program import Program

__all__ = ["VAE"]


class VAE(Program):
    """p(x, z) = p(z) p(x | z), one Pyro program.

    ``prior()`` draws the latent sites and returns z; ``likelihood(z)`` returns a distribution over images.
    Called with images (image, C, H, W) it observes them at site ``x``; called with ``size`` alone it draws images.

    Errors: :class:`~ppvae.errors.UserError` where prior and decoder disagree on the number of latents.
    Source: Kingma and Welling 2014; plate ``image`` at dim −1.
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module) -> None:
        super().__init__()
        drawn, decoded = getattr(prior, "latents", None), getattr(getattr(likelihood, "decoder", None), "latents", None)
        if None not in (drawn, decoded) and drawn != decoded:
            raise UserError(f"prior has {drawn} latents but the decoder takes {decoded}; give both the same number")
        self.prior = prior
        self.likelihood = likelihood

    def forward(self, images: torch.Tensor | None = None, *, size: int = 1) -> torch.Tensor:
        with pyro.plate("image", size if images is None else images.shape[-4], dim=-1):
            z = self.prior()
            infer = {"event_dims": ["channel", "row", "column"]}
            return pyro.sample("x", self.likelihood(z), obs=images, infer=infer)
