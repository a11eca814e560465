"""The semi-supervised model: p(y) p(z) p(x | z, y), with y known for some images."""

import pyro
import torch
from torch import nn

from ppvae.distributions import Membership
from ppvae.errors import UserError, check_whole
from ppvae.models.shared import shared_of
from ppvae.pair.program import Program

__all__ = ["UNKNOWN", "SemiSupervisedVAE"]

UNKNOWN = -1
"""The label of an image whose label is not known."""


class SemiSupervisedVAE(Program):
    """p(x, y, z) = p(y) p(z) p(x | z, y), y one of ``levels`` classes, all as probable: M2.

    Sites ``y`` (image, level), a one-hot vector, then those of ``prior()``, which returns z, then ``x``. ``likelihood``
    decodes z and y side by side, so that its decoder takes ``latents`` of both together. The labels are for the guide
    (:class:`guides.SemiSupervisedNormal`): where one is known its q(y | x, label) is that label alone, and the bound is
    log p(x, y)'s; elsewhere y is summed out. Called with images (image, C, H, W) and labels (image,) it observes the
    images; called with ``size`` it draws so many.

    Errors: :class:`~ppvae.errors.UserError` where prior, levels and decoder disagree on the number of latents.
    Source: Kingma, Rezende, Mohamed and Welling 2014, "Semi-supervised learning with deep generative models", Eq. 2.
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, levels: int) -> None:
        super().__init__()
        check_whole("levels", levels, 2)
        drawn, decoded = getattr(prior, "latents", None), getattr(getattr(likelihood, "decoder", None), "latents", None)
        if None not in (drawn, decoded) and drawn + levels != decoded:
            raise UserError(
                f"prior has {drawn} latents and there are {levels} levels but the decoder takes {decoded}; give it "
                f"{drawn + levels}"
            )
        self.prior, self.likelihood, self.levels = prior, likelihood, levels
        self.register_buffer("logits", torch.zeros(levels), persistent=False)

    def forward(
        self, images: torch.Tensor | None = None, labels: torch.Tensor | None = None, *, size: int = 1
    ) -> torch.Tensor:
        del labels  # the guide's
        shared = shared_of(self.prior)
        with pyro.plate("image", size if images is None else images.shape[-4], dim=-1):
            y = pyro.sample("y", Membership(logits=self.logits), infer={"event_dims": ["level"]})
            infer = {"event_dims": ["channel", "row", "column"]}
            return pyro.sample("x", self.decode(self.prior(*shared), y), obs=images, infer=infer)

    def decode(self, z: torch.Tensor, y: torch.Tensor) -> torch.distributions.Distribution:
        """p(x | z, y) as a distribution over images; z (..., latent) and y (..., level), whose batches broadcast."""
        batch = torch.broadcast_shapes(z.shape[:-1], y.shape[:-1])
        return self.likelihood(torch.cat([z.expand(*batch, -1), y.to(z.dtype).expand(*batch, -1)], -1))
