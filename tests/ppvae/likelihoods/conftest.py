"""Decoders and lists that the likelihoods' tests share."""

import pytest
import torch
from torch import nn


class Constant(nn.Module):
    """A decoder of a user's own, which draws the same maps for every z and does not say how many."""

    def __init__(self, maps: torch.Tensor, channels: int | None = None) -> None:
        super().__init__()
        self.drawn = maps
        self.image_shape = (channels or maps.shape[0], *maps.shape[1:])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.drawn.expand(*z.shape[:-1], *self.drawn.shape)


@pytest.fixture
def constant() -> type[Constant]:
    """The class: ``constant(maps (n, H, W), channels=n)``."""
    return Constant
