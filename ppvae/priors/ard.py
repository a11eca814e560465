"""Automatic relevance determination: one precision a latent for the whole data set, learned beside the networks."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_positive, check_whole

__all__ = ["ARDPrior"]

START = 100.0  # shape of q(α) before training: each precision is known to a tenth


class ARDPrior(Described, nn.Module):
    """p(α) Πₙ p(zₙ | α) = Gamma(α; shape, rate) Πₙ N(zₙ; 0, 1/α): the images share one precision α_l of each latent.

    Sites ``precision`` (latent), drawn once outside the plate of images by :meth:`shared`, then ``z`` (latent). Its
    posterior q(α_l) = Gamma(a_l, b_l), which :class:`~guides.ARDGuide` draws from, has its parameters here, as the
    mean a_l / b_l, at first one, and the shape a_l. For given codes the best there is is a_l = shape + N/2 and
    b_l = rate + ½ Σₙ E[z_nl²], N the images of the data set.

    In evaluation mode nothing more is learned of α: there is no site ``precision``, and z ~ N(0, b_l / a_l), which the
    average over q(α), a Student-t of 2·a_l degrees of freedom, differs from by the order of 1/a_l.

    The KL of ``precision`` counts once for the data set of :func:`~ppvae.fit`; in a script of Pyro's own, where the
    batch would stand for the data set, under :func:`~ppvae.pair.spread`.

    The prior alone makes no latent idle. A decoder that may scale its input undoes any precision: the optimum is the
    one under N(0, I) with each latent in other units. Judge latents by :func:`~ppvae.interventions.relevance`, which
    is free of units, not by ``variance``.

    Errors: :class:`~ppvae.errors.UserError` for a shape or rate that is not positive.
    Sources: MacKay 1994; Bishop 1999, "Variational principal components"; Saha, Joshi and Whitaker 2025, "ARD-VAE: a
    statistical formulation to find the relevant latent dimensions of variational autoencoders".
    """

    def __init__(self, latents: int, shape: float = 1.0, rate: float = 1.0) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_positive("shape", shape)
        check_positive("rate", rate)
        self.latents = latents
        self.register_buffer("loc", torch.zeros(latents), persistent=False)
        self.register_buffer("shape", torch.full((latents,), float(shape)), persistent=False)
        self.register_buffer("rate", torch.full((latents,), float(rate)), persistent=False)
        self.log_mean = nn.Parameter(torch.zeros(latents))
        self.log_shape = nn.Parameter(torch.full((latents,), math.log(START)))

    def shared(self) -> tuple[torch.Tensor, ...]:
        """The precisions, while they are learned: what :meth:`forward` is called with inside the plate of images."""
        if not self.training:
            return ()
        gamma = dist.Gamma(self.shape, self.rate).to_event(1)
        return (pyro.sample("precision", gamma, infer={"event_dims": ["latent"], "parameter_of": "z"}),)

    def forward(self, precision: torch.Tensor | None = None) -> torch.Tensor:
        precision = self.log_mean.exp() if precision is None else precision
        normal = dist.Normal(self.loc, precision.rsqrt()).to_event(1)
        return pyro.sample("z", normal, infer={"event_dims": ["latent"]})

    def posterior(self) -> dist.TorchDistribution:
        """q(α): batch shape (), event shape (latent,)."""
        shape = self.log_shape.exp()
        return dist.Gamma(shape, shape * (-self.log_mean).exp()).to_event(1)

    @property
    def variance(self) -> torch.Tensor:
        """b_l / a_l, the prior variance of each latent, (latent,)."""
        return (-self.log_mean).exp().detach()
