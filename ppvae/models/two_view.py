"""The model of two views: an auxiliary task that places information explicitly."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.distributions import View
from ppvae.errors import UserError
from ppvae.pair.program import Program

__all__ = ["TwoViewVAE"]

PIXELS = ["channel", "row", "column"]


class TwoViewVAE(Program):
    """p(z_global) p(z_local) p(x | z_global, z_local) p(x̂ | z_local), x̂ = g(x) a view with some information destroyed.

    What the view still shows must be in ``z_local``, which both likelihoods see; the rate presses the rest alone into
    ``z_global``. g is drawn anew for each image and step at site ``view``, which guide and model share.

    ``prior_global`` and ``prior_local`` draw their sites and return them, such as ``NormalPrior(8, site="z_global")``
    or ``ClusterPrior(8, clusters=30, site="z_global")``;
    ``likelihood`` takes both codes, global first, ``shuffled_likelihood`` the local one. Called with images
    (image, C, H, W) it observes ``x`` and ``x_shuffled``; called with ``size`` alone it draws both.
    With None for both ``shuffled_likelihood`` and ``transformation`` it is the same model without the auxiliary task:
    p(z_global) p(z_local) p(x | z_global, z_local).

    The bound is one of log p(x, x̂ | g); of log p(x) alone, with the view as side randomness of the guide, it is that of
    ``pyro.poutine.block(model, hide=["x_shuffled"])``.

    Errors: :class:`~ppvae.errors.UserError` where a decoder takes another number of latents, or only one of
    ``shuffled_likelihood`` and ``transformation`` is given.
    Source: Anonymous 2019, "Explicit information placement on latent variables using auxiliary generative modelling
    task", Eqs. 3-6 (whose KL has the wrong sign).
    """

    def __init__(
        self,
        prior_global: nn.Module,
        prior_local: nn.Module,
        likelihood: nn.Module,
        shuffled_likelihood: nn.Module | None,
        transformation: Callable[[torch.Tensor], torch.Tensor] | None,
    ) -> None:
        super().__init__()
        if (shuffled_likelihood is None) != (transformation is None):
            given, missing = "shuffled_likelihood", "transformation"
            if shuffled_likelihood is None:
                given, missing = missing, given
            raise UserError(
                f"{given} is given, {missing} is not: the auxiliary task takes both, a model without it none"
            )
        _check_latents("likelihood", likelihood, prior_global, prior_local)
        if shuffled_likelihood is not None:
            _check_latents("shuffled_likelihood", shuffled_likelihood, prior_local)
        self.prior_global, self.prior_local = prior_global, prior_local
        self.likelihood, self.shuffled_likelihood = likelihood, shuffled_likelihood
        self.transformation = transformation

    def forward(self, images: torch.Tensor | None = None, *, size: int = 1) -> torch.Tensor:
        with pyro.plate("image", size if images is None else images.shape[-4], dim=-1):
            auxiliary = self.transformation is not None
            view = self.draw_view(images) if auxiliary and images is not None else None
            z_global, z_local = self.prior_global(), self.prior_local()
            infer = {"event_dims": PIXELS}
            if auxiliary:
                pyro.sample("x_shuffled", self.shuffled_likelihood(z_local), obs=view, infer=infer)
            return pyro.sample("x", self.decode(z_global, z_local), obs=images, infer=infer)

    def decode(self, z_global: torch.Tensor, z_local: torch.Tensor) -> dist.TorchDistribution:
        """p(x | z_global, z_local): codes (..., latent_global) and (..., latent_local), event shape (C, H, W)."""
        return self.likelihood(torch.cat([z_global, z_local], -1))

    def draw_view(self, images: torch.Tensor) -> torch.Tensor:
        """Draw the site ``view``, as the guide does."""
        return draw_view(self.transformation, images)


def draw_view(transformation: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Draw the site ``view``, no latent of anybody's interest: exports and rates leave it out."""
    return pyro.sample("view", View(transformation, images), infer={"nuisance": True, "event_dims": PIXELS})


def _check_latents(name: str, likelihood: nn.Module, *priors: nn.Module) -> None:
    drawn = [getattr(prior, "latents", None) for prior in priors]
    taken = getattr(getattr(likelihood, "decoder", None), "latents", None)
    if taken is not None and None not in drawn and taken != sum(drawn):
        raise UserError(f"{name}'s decoder takes {taken} latents, its priors draw {sum(drawn)}; give both the same")
