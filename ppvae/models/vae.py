"""The model: p(z) p(x | z)."""

import pyro
import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.models.shared import shared_of
from ppvae.pair.program import Program

__all__ = ["VAE"]


class VAE(Program):
    """p(x, z) = p(z) p(x | z), one Pyro program.

    ``prior()`` draws the latent sites and returns z; ``likelihood(z)`` returns a distribution over images. A prior with
    a method ``shared()`` draws there, outside of the plate, what all images share, and is called with what it returned.
    Called with images (image, C, H, W) it observes them at site ``x``; called with ``size`` alone it draws images.

    Errors: :class:`~ppvae.errors.UserError` where prior and decoder disagree on the number of latents, or on the shape
    of a code of feature maps.
    Source: Kingma and Welling 2014; plate ``image`` at dim −1.
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module) -> None:
        super().__init__()
        _check_code(prior, getattr(likelihood, "decoder", None))
        self.prior = prior
        self.likelihood = likelihood

    def forward(self, images: torch.Tensor | None = None, *, size: int = 1) -> torch.Tensor:
        shared = shared_of(self.prior)
        with pyro.plate("image", size if images is None else images.shape[-4], dim=-1):
            z = self.prior(*shared)
            infer = {"event_dims": ["channel", "row", "column"]}
            return pyro.sample("x", self.likelihood(z), obs=images, infer=infer)


def _check_code(prior: nn.Module, decoder: nn.Module | None) -> None:
    """UserError where what the prior returns, ``latents`` numbers or maps of ``map_shape``, is not what is decoded."""
    drawn, decoded = (_shape(part) for part in (prior, decoder))
    if None in (drawn, decoded) or drawn == decoded:
        return
    if len(drawn) == len(decoded) == 1:
        raise UserError(f"prior has {drawn[0]} latents but the decoder takes {decoded[0]}; give both the same number")
    first, then = ("vectors" if len(shape) == 1 else f"maps {shape}" for shape in (drawn, decoded))
    raise UserError(
        f"{type(prior).__name__} draws {first}, {type(decoder).__name__} takes {then}: give both the same; maps are of "
        "prior=autoregressive_map with network=two_levels, or of prior=hierarchy with network=hierarchy"
    )


def _shape(part: nn.Module | None) -> tuple[int, ...] | None:
    latents = getattr(part, "latents", None)
    return getattr(part, "map_shape", None if latents is None else (latents,))
