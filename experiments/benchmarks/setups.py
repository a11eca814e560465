"""What is timed: two set-ups of networks and images, and for each the VAE and the NGVAE pair."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior

from .hand_written import (
    HandWritten,
    HandWrittenNGVAE,
    HandWrittenVAE,
    bernoulli_distortion,
    normal_distortion,
)

__all__ = ["CONV", "MLP", "SETUPS", "AnySetup", "Kind", "Setup"]

Kind = Literal["VAE", "NGVAE"]
LATENTS = 15


class AnySetup(Protocol):
    """What is timed and compared, here and of other systems: a pair of each kind, and the same system by hand."""

    @property
    def title(self) -> str: ...

    def images(self, seed: int = 0) -> torch.Tensor: ...

    def pair(self, kind: Any, /) -> tuple[nn.Module, nn.Module]: ...

    def hand_written(self, kind: Any, /) -> HandWritten: ...

    def parameters(self, model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]: ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Networks, images and likelihood. ``share``: part of ``--steps`` that a round of it gets."""

    title: str
    image_shape: tuple[int, int, int]
    batch_size: int
    binary: bool
    encoder: Callable[..., nn.Module]
    decoder: Callable[..., nn.Module]
    share: float = 1.0

    def images(self, seed: int = 0) -> torch.Tensor:
        """A batch: uniform noise, or zeros with some ones for binary pixels."""
        noise = torch.rand(self.batch_size, *self.image_shape, generator=torch.Generator().manual_seed(seed))
        return (noise < 0.15).float() if self.binary else noise

    def pair(
        self, kind: Kind, estimator: Literal["implicit", "g-rep"] = "implicit", seed: int = 0
    ) -> tuple[nn.Module, nn.Module]:
        """(model, guide), the same parameters for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder, decoder = self.encoder(self.image_shape), self.decoder(LATENTS, self.image_shape)
            likelihood = BernoulliLikelihood(decoder) if self.binary else NormalLikelihood(decoder, scale=0.02)
            if kind == "VAE":
                return VAE(NormalPrior(LATENTS), likelihood), MeanFieldNormal(encoder, LATENTS)
            guide = NormalGammaGuide(encoder, LATENTS, estimator=estimator)
            return VAE(NormalGammaPrior(LATENTS), likelihood), guide

    def hand_written(self, kind: Kind) -> HandWritten:
        """The same system without Pyro, with the same parameters."""
        system = HandWrittenVAE if kind == "VAE" else HandWrittenNGVAE
        return system(*self.pair(kind), bernoulli_distortion if self.binary else normal_distortion)

    def parameters(self, model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]:
        """A pair's parameters by their names in the hand-written system."""
        return dict([*guide.named_parameters(), *model.get_submodule("likelihood").named_parameters()])


MLP = Setup(
    title="MLP 784-400-15, binary 1×28×28, batch 128, Bernoulli",
    image_shape=(1, 28, 28),
    batch_size=128,
    binary=True,
    encoder=MLPEncoder,
    decoder=MLPDecoder,
)
CONV = Setup(
    title="convolutional network of Jouffroy et al., 3×64×64, batch 64, Normal with scale 0.02",
    image_shape=(3, 64, 64),
    batch_size=64,
    binary=False,
    encoder=ConvEncoder,
    decoder=ConvDecoder,
    share=0.2,
)
SETUPS = {"mlp": MLP, "conv": CONV}
