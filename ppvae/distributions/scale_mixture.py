"""A mixture of normals about zero that differ in scale."""

import torch
from pyro.distributions import Categorical, MixtureSameFamily, Normal
from torch.distributions import constraints

from ppvae.described import one_line

__all__ = ["ScaleMixture"]


class ScaleMixture(MixtureSameFamily):
    """Σ_k w_k N(z; 0, s_k²), w = softmax(logits), of a number z.

    Shapes: logits and scales (..., K) → batch shape (...), event shape ().
    """

    support = constraints.real

    def __init__(self, logits: torch.Tensor, scales: torch.Tensor, *, validate_args: bool | None = None) -> None:
        self.logits, self.scales = logits, scales
        normals = Normal(torch.zeros_like(scales), scales)
        super().__init__(Categorical(logits=logits), normals, validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "logits", "scales")

    def expand(self, batch_shape: torch.Size, _instance: "ScaleMixture | None" = None) -> "ScaleMixture":
        new = super().expand(batch_shape, self._get_checked_instance(ScaleMixture, _instance))
        new.logits, new.scales = self.logits, self.scales
        return new
