"""The conditional model: p(z) p(x | z, y)."""

import pyro
import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.models.shared import shared_of
from ppvae.networks.conditions import Condition
from ppvae.pair.program import Program

__all__ = ["ConditionalVAE"]


class ConditionalVAE(Program):
    """p(x, z | y) = p(z) p(x | z, y): y, given with each image, is a label, another image, or what ``condition`` reads.

    ``prior()`` draws the latent sites and returns z; ``likelihood`` decodes z and the condition's features side by
    side, so that its decoder takes ``latents`` of both together. The guide is any of the house's with a
    :class:`~ppvae.networks.ConditionalEncoder`: q(z | x, y). Called with images (image, C, H, W) and y (image, ...) it
    observes the images at site ``x``; called with ``given=y`` alone it draws an image for each.

    Errors: :class:`~ppvae.errors.UserError` where prior, condition and decoder disagree on the number of latents, or
    where y is missing.
    Source: Sohn, Lee and Yan 2015, "Learning structured output representation using deep conditional generative
    models", with a prior that does not depend on y (Kingma et al. 2014, M2).
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, condition: Condition) -> None:
        super().__init__()
        drawn, decoded = getattr(prior, "latents", None), getattr(getattr(likelihood, "decoder", None), "latents", None)
        if None not in (drawn, decoded) and drawn + condition.features != decoded:
            raise UserError(
                f"prior has {drawn} latents and the condition {condition.features} features but the decoder takes "
                f"{decoded}; give it {drawn + condition.features}"
            )
        self.prior, self.likelihood, self.condition = prior, likelihood, condition

    def forward(
        self, images: torch.Tensor | None = None, given: torch.Tensor | None = None, *, size: int = 1
    ) -> torch.Tensor:
        if given is None:
            raise UserError("the model is conditional and was given images alone; give (images, labels)")
        del size  # one image for each row that is given
        shared = shared_of(self.prior)
        with pyro.plate("image", len(given), dim=-1):
            infer = {"event_dims": ["channel", "row", "column"]}
            return pyro.sample("x", self.decode(self.prior(*shared), given), obs=images, infer=infer)

    def decode(self, z: torch.Tensor, given: torch.Tensor) -> torch.distributions.Distribution:
        """p(x | z, y) as a distribution over images; z (..., image, latent), given (image, ...)."""
        features = self.condition(given).to(z.dtype)
        return self.likelihood(torch.cat([z, features.expand(*z.shape[:-1], -1)], -1))
