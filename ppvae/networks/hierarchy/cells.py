"""Residual cells, features (n, C, H, W) → the same shape: a branch of convolutions that a residual network adds."""

from collections.abc import Callable

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_choice, check_whole

__all__ = ["CELLS", "BottleneckCell", "Cells", "EncoderCell", "GenerativeCell", "SqueezeExcite", "cells_of", "stacked"]

MOMENTUM = 0.05  # of running statistics, as published
STEP = 0.1  # what a branch adds, so that many of them start near the identity


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=MOMENTUM)


class SqueezeExcite(Described, nn.Module):
    """Each channel times a gate in (0, 1) that is read off the means of all channels over the map.

    The two linear layers meet in max(channels // ``squeeze``, 4) units.
    Source: Hu et al. 2018, "Squeeze-and-excitation networks", Eqs. 2 to 4.
    """

    def __init__(self, channels: int, squeeze: int = 16) -> None:
        super().__init__()
        hidden = max(channels // squeeze, 4)
        self.gates = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())
        nn.init.zeros_(self.gates[0].bias)  # after a norm means are near zero: a bias alone would silence its unit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gates(x.mean((-2, -1))).unflatten(-1, (-1, 1, 1))


class GenerativeCell(Described, nn.Module):
    """x + 0.1 · SE(f(x)), f: BN, 1 × 1 to ``expansion`` times the channels, BN, swish, 5 × 5 in each channel by itself,
    BN, swish, 1 × 1 back, BN.

    Depthwise convolutions see far for few weights: 5 · 5 · E·C of them beside 2 · E·C² of the 1 × 1.
    Source: Vahdat and Kautz 2020 (NVAE), Fig. 3 (a).
    """

    def __init__(self, channels: int, expansion: int = 6) -> None:
        super().__init__()
        wide = expansion * channels
        self.branch = nn.Sequential(  # a norm cancels the bias of the convolution before it
            _norm(channels),
            nn.Conv2d(channels, wide, 1, bias=False),
            _norm(wide),
            nn.SiLU(),
            nn.Conv2d(wide, wide, 5, padding=2, groups=wide, bias=False),
            _norm(wide),
            nn.SiLU(),
            nn.Conv2d(wide, channels, 1, bias=False),
            _norm(channels),
            SqueezeExcite(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + STEP * self.branch(x)


class EncoderCell(Described, nn.Module):
    """x + 0.1 · SE(f(x)), f: twice BN, swish, 3 × 3. Source: Vahdat and Kautz 2020 (NVAE), Fig. 3 (b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            SqueezeExcite(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + STEP * self.branch(x)


class BottleneckCell(Described, nn.Module):
    """x + f(x), f: GELU before each of 1 × 1 to a quarter of the channels, 3 × 3, 3 × 3 and 1 × 1 back; no norms.

    The last convolution starts at 0.1 of its usual weights, so that deep stacks start near the identity.
    Source: Child 2021, "Very deep VAEs generalize autoregressive models", Fig. 3.
    """

    def __init__(self, channels: int, squeeze: int = 4) -> None:
        super().__init__()
        narrow = max(channels // squeeze, 1)
        last = nn.Conv2d(narrow, channels, 1)
        self.branch = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(channels, narrow, 1),
            nn.GELU(),
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.GELU(),
            last,
        )
        with torch.no_grad():
            last.weight.mul_(STEP)
            last.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


type Cells = tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]
"""What makes a cell of the generative model, and one of the encoder, for so many channels."""

CELLS: dict[str, Cells] = {
    "nvae": (GenerativeCell, EncoderCell),
    "residual": (EncoderCell, EncoderCell),
    "vdvae": (BottleneckCell, BottleneckCell),
}


def cells_of(cell: str) -> Cells:
    """The cells of that name; UserError, which lists them, for another."""
    check_choice("cell", cell, CELLS)
    return CELLS[cell]


def stacked(make: Callable[[int], nn.Module], channels: int, count: int) -> nn.Sequential:
    """``count`` cells one after another; none for 0."""
    check_whole("cells", count, 0)
    return nn.Sequential(*(make(channels) for _ in range(count)))
