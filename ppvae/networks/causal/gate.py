"""The gate that all causal networks share."""

import torch

__all__ = ["gate"]


def gate(numbers: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """tanh(a)·σ(b) of the two halves of a dim."""
    a, b = numbers.chunk(2, dim)
    return a.tanh() * b.sigmoid()
