"""PixelVAE pairs to be timed, and the same in plain PyTorch."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE
from ppvae.likelihoods import AutoregressiveLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder
from ppvae.priors import NormalPrior

from .hand_written import HandWritten, HandWrittenVAE, bernoulli_distortion

__all__ = ["PIXELS", "WINDOWS", "PixelDistortion", "PixelSetup"]

WINDOWS = {"full past": None, "window 2 × 5": (2, 5)}
RENAMED = {"network.": "distortion.network.", "pixels.chain.heads.0.": "distortion.head."}


class PixelDistortion(nn.Module):
    """−log p(x | z) of binary pixels by a likelihood's networks, copied, nats per image.

    Shapes: context (image, maps, H, W), images (image, 1, H, W) → ().
    """

    def __init__(self, likelihood: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(likelihood.get_submodule("network"))
        self.head = copy.deepcopy(likelihood.get_submodule("pixels.chain.heads.0"))

    def forward(self, context: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return bernoulli_distortion(self.head(self.network(images, context)), images)


@dataclass(frozen=True, kw_only=True)
class PixelSetup:
    """Sizes of a PixelVAE of binary images; its kinds are :data:`WINDOWS`."""

    image_shape: tuple[int, int, int] = (1, 28, 28)
    batch_size: int = 64
    layers: int = 8
    channels: int = 32  # of the gated layers, and maps of context
    latents: int = 32
    widths: tuple[int, ...] = (32, 32, 64)

    @property
    def title(self) -> str:
        """Its sizes in one line."""
        shape = "×".join(map(str, self.image_shape))
        return f"PixelVAE, {self.layers} gated layers × {self.channels}, binary {shape}, batch {self.batch_size}"

    def images(self, seed: int = 0) -> torch.Tensor:
        """A batch of zeros with some ones."""
        generator = torch.Generator().manual_seed(seed)
        return (torch.rand(self.batch_size, *self.image_shape, generator=generator) < 0.15).float()

    def pair(self, kind: str, seed: int = 0) -> tuple[nn.Module, nn.Module]:
        """(model, guide), the same parameters for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            decoder = ConvDecoder(self.latents, self.image_shape, self.widths[::-1], maps=self.channels)
            sizes: dict[str, Any] = {"layers": self.layers, "channels": self.channels, "context": self.channels}
            likelihood = AutoregressiveLikelihood(decoder, window=WINDOWS[kind], **sizes)
            encoder = ConvEncoder(self.image_shape, self.widths)
            return VAE(NormalPrior(self.latents), likelihood), MeanFieldNormal(encoder, self.latents)

    def hand_written(self, kind: str) -> HandWritten:
        """The same system without Pyro, with the same parameters."""
        model, guide = self.pair(kind)
        return HandWrittenVAE(model, guide, PixelDistortion(model.get_submodule("likelihood")))

    def parameters(self, model: nn.Module, guide: nn.Module) -> dict[str, nn.Parameter]:
        """A pair's parameters by their names in the hand-written system."""
        own = [*guide.named_parameters(), *model.get_submodule("likelihood").named_parameters()]
        return {_renamed(name): parameter for name, parameter in own}


PIXELS = PixelSetup()


def _renamed(name: str) -> str:
    for ours, theirs in RENAMED.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
