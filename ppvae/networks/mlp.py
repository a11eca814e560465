"""Fully connected encoder and decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_choice, check_whole
from ppvae.networks.images import check_image_shape, check_widths

__all__ = ["MLPDecoder", "MLPEncoder"]

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "leaky_relu": lambda: nn.LeakyReLU(0.2), "elu": nn.ELU}


def _hidden_layers(widths: Sequence[int], activation: str) -> list[nn.Module]:
    check_choice("activation", activation, ACTIVATIONS)
    return [layer for i, o in pairwise(widths) for layer in (_linear(i, o, activation), ACTIVATIONS[activation]())]


def _linear(inputs: int, outputs: int, activation: str) -> nn.Linear:
    """Glorot and Bengio's initial weights before tanh (as Burda et al. 2016), torch's own otherwise: those would
    weaken what passes a tanh by √3 a layer, and z with it."""
    layer = nn.Linear(inputs, outputs)
    if activation == "tanh":
        nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh"))
        nn.init.zeros_(layer.bias)
    return layer


class MLPEncoder(Described, nn.Module):
    """Images to features through fully connected layers; with ``hidden=()`` the pixels as they are.

    Shapes: images (..., C, H, W) → features (..., ``features``).
    """

    def __init__(self, image_shape: Sequence[int], hidden: Sequence[int] = (400,), activation: str = "relu") -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        widths = [math.prod(self.image_shape), *check_widths("hidden", hidden, least=0)]
        self.features = widths[-1]
        self.layers = nn.Sequential(*_hidden_layers(widths, activation))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images.flatten(-3))


class MLPDecoder(Described, nn.Module):
    """Latents to the parameters of each pixel through fully connected layers; linear in them with ``hidden=()``.

    ``maps``: how many numbers a pixel gets, by default one a channel; the likelihood's ``decoder_maps`` says how many
    it needs.
    Shapes: z (..., ``latents``) → (..., ``maps``, H, W), unbounded; the likelihood chooses the link function.
    """

    def __init__(
        self,
        latents: int,
        image_shape: Sequence[int],
        hidden: Sequence[int] = (400,),
        activation: str = "relu",
        *,
        maps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        self.latents = latents
        self.image_shape = check_image_shape(image_shape)
        self.maps = self.image_shape[0] if maps is None else maps
        check_whole("maps", self.maps, 1)
        widths = [latents, *check_widths("hidden", hidden, least=0)]
        last = nn.Linear(widths[-1], math.prod(self._drawn))
        self.layers = nn.Sequential(*_hidden_layers(widths, activation), last)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z).unflatten(-1, self._drawn)

    @property
    def _drawn(self) -> tuple[int, int, int]:
        return (self.maps, *self.image_shape[1:])
