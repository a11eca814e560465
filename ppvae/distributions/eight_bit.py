"""Images of 256 grey levels."""

import torch
from torch.distributions import constraints

__all__ = ["LEVELS", "eight_bit", "nearest_level"]

LEVELS = 256


def nearest_level(value: torch.Tensor) -> torch.Tensor:
    """The grey level 0 … 255 nearest to each pixel in [0, 1], as a float."""
    return (value * (LEVELS - 1)).round().clamp(0, LEVELS - 1)


class _EightBit(constraints.Constraint):
    """Multiples of 1/255 in [0, 1], to a thousandth of a level."""

    is_discrete = True

    def check(self, value: torch.Tensor) -> torch.Tensor:
        return (value * (LEVELS - 1) - nearest_level(value)).abs() <= 1e-3

    def __repr__(self) -> str:
        return "8-bit: multiples of 1/255 in [0, 1]"


eight_bit = _EightBit()
