"""The mean of p(x | z), where it has one."""

import torch
from torch.distributions import Distribution

__all__ = ["mean_of"]


def mean_of(distribution: Distribution) -> torch.Tensor | None:
    """The mean, or None for a distribution without one: it says so, or its mean is NaN, as a categorical's is."""
    try:
        mean = distribution.mean
    except (NotImplementedError, AttributeError):
        return None
    return None if mean.isnan().all() else mean
