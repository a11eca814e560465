"""A mixture of distributions over real vectors, with weights."""

import torch
from pyro.distributions import Categorical, MixtureSameFamily
from torch.distributions import Distribution, constraints

from ppvae.described import shown

__all__ = ["VectorMixture"]


class VectorMixture(MixtureSameFamily):
    """Σ_k w_k p_k(z), w = softmax(logits), scored in one pass over all components.

    Unlike ``MixtureSameFamily`` it says that its support is the real vectors, which its components' repr hides.

    Shapes: logits (..., K); components: batch shape (..., K), event shape (n,) → batch shape (...), event shape (n,).
    """

    support = constraints.real_vector

    def __init__(self, logits: torch.Tensor, components: Distribution, *, validate_args: bool | None = None) -> None:
        super().__init__(Categorical(logits=logits), components, validate_args=validate_args)

    def __repr__(self) -> str:
        parts = shown(self.mixture_distribution.logits), shown(self.component_distribution)
        return f"{type(self).__name__}(logits={parts[0]}, components={parts[1]})"

    def expand(self, batch_shape: torch.Size, _instance: "VectorMixture | None" = None) -> "VectorMixture":
        return super().expand(batch_shape, self._get_checked_instance(VectorMixture, _instance))
