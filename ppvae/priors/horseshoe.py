"""The horseshoe prior, its scales summed out."""

import math

import pyro
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import ScaleMixture
from ppvae.errors import UserError, check_positive, check_whole

__all__ = ["HorseshoePrior"]


class HorseshoePrior(Described, nn.Module):
    """p(z) = Σ_k w_k N(z; 0, s_k²), independent over latents and images: a peak at zero and a heavy tail.

    The horseshoe is N(0, (τλ)²) with λ half-Cauchy. Here λ is one of ``components`` values, evenly spaced in log λ from
    ``low`` to ``high``, with w_k ∝ λ_k / (1 + λ_k²), the half-Cauchy's density of log λ, so that log p(z) has a closed
    form; ``scale`` is τ. The density is the horseshoe's for τ·low ≪ |z| ≪ τ·high, bounded at zero and normal beyond.

    It favours sparse codes, near zero for most images. Where a latent's codes over all images are normal, no normal
    being of this shape, it costs KL = 0.24 nats more than N(0, 1) with the default grid, in use or not: in a linear
    model just the latents are in use that N(0, I) keeps. An idle latent is thus above the threshold of the rule by KL;
    judge latents by ablation or relevance.

    Site ``z`` (latent), or ``site``, such as ``z_global`` (latent_global). Goes with any guide of z alone; its KL is
    sampled.
    Errors: :class:`~ppvae.errors.UserError` for numbers that are not positive, or ``low`` not below ``high``.
    Source: Carvalho, Polson and Scott 2010, "The horseshoe estimator for sparse signals".
    """

    def __init__(
        self,
        latents: int,
        scale: float = 1.0,
        components: int = 16,
        low: float = 0.01,
        high: float = 10.0,
        *,
        site: str = "z",
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_whole("components", components, 2)
        for name, value in (("scale", scale), ("low", low), ("high", high)):
            check_positive(name, value)
        if low >= high:
            raise UserError(f"low={low!r}, high={high!r}: expected low below high")
        self.latents, self.site = latents, site
        logs = torch.linspace(math.log(low), math.log(high), components)
        logits = -(logs.exp() + (-logs).exp()).log()  # of λ / (1 + λ²)
        self.register_buffer("logits", logits.expand(latents, -1).clone(), persistent=False)
        self.register_buffer("scales", (scale * logs.exp()).expand(latents, -1).clone(), persistent=False)

    def forward(self) -> torch.Tensor:
        infer = {"event_dims": ["latent" + self.site.removeprefix("z")]}
        return pyro.sample(self.site, ScaleMixture(self.logits, self.scales).to_event(1), infer=infer)
