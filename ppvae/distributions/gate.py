"""Whether a latent is open: zero or one, or a number between them that relaxes it."""

import torch
from pyro.distributions import Bernoulli
from torch.distributions import constraints

from ppvae.described import one_line

__all__ = ["Gate", "RelaxedGate"]


class Gate(Bernoulli):
    """A gate, open (1) with probability γ = sigmoid(logits), else closed (0).

    Its support is declared as the unit interval, with log p(y) = y log γ + (1 − y) log(1 − γ), so that a model can be
    shown a relaxed draw; draws are zeros and ones.

    Shapes: logits (...) → batch shape (...), event shape ().
    """

    support = constraints.unit_interval
    has_enumerate_support = False

    def __init__(self, logits: torch.Tensor, *, validate_args: bool | None = None) -> None:
        super().__init__(logits=logits, validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "logits")

    def expand(self, batch_shape: torch.Size, _instance: "Gate | None" = None) -> "Gate":
        return super().expand(batch_shape, self._get_checked_instance(Gate, _instance))


class RelaxedGate(Gate):
    """y = sigmoid((logits + logistic noise) / τ), reparameterised; zero or one as τ → 0.

    Its log density, moments and KL are those of the gate that it relaxes, not of the density of y, so that a bound that
    uses them is none.

    Shapes: temperature (); logits (...) → batch shape (...), event shape ().
    Source: Maddison, Mnih and Teh 2017, "The concrete distribution", App. B.
    """

    has_rsample = True

    def __init__(
        self, temperature: torch.Tensor | float, logits: torch.Tensor, *, validate_args: bool | None = None
    ) -> None:
        self.temperature = torch.as_tensor(temperature, dtype=logits.dtype, device=logits.device)
        super().__init__(logits, validate_args=validate_args)

    def __repr__(self) -> str:
        return one_line(self, "temperature", "logits")

    def expand(self, batch_shape: torch.Size, _instance: "RelaxedGate | None" = None) -> "RelaxedGate":
        new = super().expand(batch_shape, self._get_checked_instance(RelaxedGate, _instance))
        new.temperature = self.temperature
        return new

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> torch.Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        tiny = torch.finfo(uniform.dtype).eps
        noise = uniform.clamp(tiny, 1 - tiny).logit()
        return ((self.logits + noise) / self.temperature).sigmoid()
