"""Which cluster: a one-hot vector, or a point of the simplex that relaxes it."""

import torch
from pyro.distributions import OneHotCategorical, RelaxedOneHotCategorical
from torch.distributions import Categorical, constraints, kl_divergence, register_kl

from ppvae.described import one_line

__all__ = ["Membership", "RelaxedMembership"]


class Membership(OneHotCategorical):
    """A cluster k with probability π_k, as a one-hot vector.

    Its support is declared as the whole simplex, with log p(y) = Σ_k y_k log π_k, so that a model can be shown a
    relaxed draw; draws and enumeration give corners alone.

    Shapes: logits or probs (..., K) → batch shape (...), event shape (K,).
    """

    support = constraints.simplex

    def __repr__(self) -> str:
        return one_line(self, "logits")

    def expand(self, batch_shape: torch.Size, _instance: "Membership | None" = None) -> "Membership":
        return super().expand(batch_shape, self._get_checked_instance(Membership, _instance))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.logits).sum(-1)


class RelaxedMembership(RelaxedOneHotCategorical):
    """Gumbel-softmax: y = softmax((logits + Gumbel noise) / τ), reparameterised; a corner of the simplex as τ → 0.

    Its KL from a ``Membership`` is that of the categorical distribution with the same logits, as published; not of the
    density of y, so that a bound that uses it is none.

    Shapes: temperature (); logits (..., K) → batch shape (...), event shape (K,).
    Sources: Jang, Gu and Poole 2017, Eq. 2; Maddison, Mnih and Teh 2017.
    """

    def __repr__(self) -> str:
        return one_line(self, "temperature", "logits")

    def expand(self, batch_shape: torch.Size, _instance: "RelaxedMembership | None" = None) -> "RelaxedMembership":
        return super().expand(batch_shape, self._get_checked_instance(RelaxedMembership, _instance))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> torch.Tensor:
        """Divided by its sum, which rounding at small τ leaves further from one than validation allows."""
        y = super().rsample(sample_shape)
        return y / y.sum(-1, keepdim=True)


@register_kl(RelaxedMembership, Membership)
def _kl_as_published(q: RelaxedMembership, p: Membership) -> torch.Tensor:
    return kl_divergence(Categorical(logits=q.logits), Categorical(logits=p.logits))
