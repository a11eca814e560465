"""The spike-and-slab prior: each latent of each image is open or shut."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import Gate
from ppvae.errors import UserError, check_whole

__all__ = ["SpikeAndSlabPrior"]


class SpikeAndSlabPrior(Described, nn.Module):
    """p(g) p(z) = Bernoulli(g; π) N(z; 0, 1), independent over latents and images; the decoder reads g·z.

    An open latent costs −log π nats an image beside its own KL, an idle one nothing: an L0-like price. With gates that
    are open with one probability for all images, a linear model of normal pixels with noise s² uses an axis of variance
    λ where ½(ρ − 1 − log ρ) > −log π, ρ = λ/s², instead of where ρ > 1. ``probability``: π.

    Sites ``gate`` (latent), then ``z`` (latent): with :class:`~guides.SpikeAndSlabGuide`.
    Errors: :class:`~ppvae.errors.UserError` for a probability outside (0, 1).
    Sources: Mitchell and Beauchamp 1988; Tonolini, Jensen and Murray-Smith 2019, "Variational sparse coding".
    """

    def __init__(self, latents: int, probability: float = 0.1) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        if not 0 < probability < 1:
            raise UserError(f"probability={probability!r}: expected a number between 0 and 1")
        self.latents = latents
        logit = math.log(probability) - math.log1p(-probability)
        self.register_buffer("logits", torch.full((latents,), logit), persistent=False)
        self.register_buffer("loc", torch.zeros(latents), persistent=False)

    def forward(self) -> torch.Tensor:
        infer = {"event_dims": ["latent"]}
        gate = pyro.sample("gate", Gate(self.logits).to_event(1), infer={**infer, "parameter_of": "z"})
        slab = dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)
        return gate * pyro.sample("z", slab, infer=infer)
