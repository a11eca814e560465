"""Automatic relevance determination by the conjugate update: the precisions follow the codes, no gradient needed."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_positive, check_whole
from ppvae.processes import count, mean_over_processes

__all__ = ["ConjugateARDPrior"]


class ConjugateARDPrior(Described, nn.Module):
    """p(z_l) = N(0, b_l / a_l), α_l ~ Gamma(a_l, b_l) the posterior of one precision a latent, given the last codes.

    a_l = ``shape`` + n/2 and b_l = ``rate`` + ½ Σ z_l² over the codes of the batches before, as they were drawn: each
    run in training mode adds its batch's and forgets by exp(−B/``window``), so that n → ``window`` codes, as those of
    the published update from some 10⁴ images each epoch. The sums are buffers, treated as BatchNorm's running
    statistics are: saved, resumed, of all processes, and fixed in evaluation mode. Averaged over α, z_l is a Student-t
    of 2·a_l degrees of freedom, N(0, b_l / a_l) but for the order of 1/n.

    Site ``z`` (latent), or ``site``, such as ``z_global`` (latent_global); goes with any guide of z alone. The codes'
    scale is free, as for :class:`~ppvae.priors.ARDPrior`: judge latents by :func:`~ppvae.interventions.relevance`.

    Errors: :class:`~ppvae.errors.UserError` for a shape, rate or window that is not positive.
    Source: Saha, Joshi and Whitaker 2025, "ARD-VAE: a statistical formulation to find the relevant latent dimensions of
    variational autoencoders".
    """

    def __init__(
        self, latents: int, shape: float = 1.0, rate: float = 1.0, window: float = 10_000.0, *, site: str = "z"
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        for name, value in (("shape", shape), ("rate", rate), ("window", window)):
            check_positive(name, value)
        self.latents, self.site = latents, site
        self.shape, self.rate, self.window = float(shape), float(rate), float(window)
        self.register_buffer("loc", torch.zeros(latents), persistent=False)
        self.register_buffer("codes", torch.zeros(()))
        self.register_buffer("squares", torch.zeros(latents))

    def forward(self) -> torch.Tensor:
        normal = dist.Normal(self.loc, self.variance.sqrt()).to_event(1)
        infer = {"event_dims": ["latent" + self.site.removeprefix("z")]}
        z = pyro.sample(self.site, normal, infer=infer)
        if self.training:
            self._take(z.detach())
        return z

    @property
    def posterior(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(a, b) of α's Gamma distribution, (latent,) each."""
        return (self.shape + 0.5 * self.codes).expand(self.latents), self.rate + 0.5 * self.squares

    @property
    def variance(self) -> torch.Tensor:
        """b_l / a_l, the prior variance of each latent, (latent,)."""
        shape, rate = self.posterior
        return rate / shape

    @torch.no_grad()
    def _take(self, z: torch.Tensor) -> None:
        """Codes (..., image, latent) into the sums; several draws of one image count as one code."""
        batch = z.shape[-2] * count()
        kept = math.exp(-batch / self.window)
        squares = mean_over_processes(z.square().flatten(0, -2).mean(0))
        self.squares.mul_(kept).add_(squares, alpha=batch)
        self.codes.mul_(kept).add_(batch)
