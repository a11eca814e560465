"""The masked network whose outputs for one entry see the entries before it alone."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import elu, linear

__all__ = ["MaskedNetwork"]

START = 1e-3  # of torch's own initial weights in what reaches the outputs: they start near zero


class MaskedNetwork(nn.Module):
    """Two numbers (m_i, s_i) for each entry i of x, from the entries before i in the order and from the context.

    A connection may not lead to a lower degree: an entry's is its place 1 … n in the order, hidden units spread over
    1 … n − 1 (with a context from 0, which sees that alone), an output's lies below its entry's. x also goes to the
    outputs directly; hidden units are ELUs. All that one layer gives comes of one product: few and large ones are
    what the hardware is fast at.

    Shapes: x (..., ``entries``), context (..., ``context``), broadcast to x's batch shape → m, s (..., ``entries``).
    Source: Germain et al. 2015 (MADE); Paige and Wood 2016 for the context.
    """

    permutation: torch.Tensor

    def __init__(self, entries: int, context: int, hidden: Sequence[int], *, reverse: bool = False) -> None:
        super().__init__()
        order = torch.arange(entries)
        self.register_buffer("permutation", order.flip(0) if reverse else order, persistent=False)
        place = self.permutation.argsort()
        inputs, outputs = place + 1, place.repeat(2)
        most, lower = (entries, 1) if context else (entries - 1, 0)
        units = [torch.linspace(1, most, width).round() - lower for width in hidden]
        self.split = [hidden[0], 2 * entries]
        self.first = _MaskedLinear(inputs, torch.cat([units[0], outputs]))
        self.inner = nn.ModuleList(_MaskedLinear(*degrees) for degrees in pairwise(units))
        self.last = _MaskedLinear(units[-1], outputs, bias=False)  # the first layer has the outputs' bias
        self.context = nn.Linear(context, sum(self.split), bias=False) if context else None
        self._start(1 / math.sqrt(entries + context))

    def _start(self, bound: float) -> None:
        """torch's initial weights of a layer that took x and context together."""
        first = [self.first.weight, self.first.bias, *(self.context.parameters() if self.context else ())]
        with torch.no_grad():
            for parameter in first:
                parameter.uniform_(-bound, bound)
                parameter[self.split[0] :].mul_(START)
            self.last.weight.mul_(START)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        both = self.first(x.to(self.last.weight.dtype))  # Pyro's inverse starts from zeros of the default type
        if self.context is not None:
            both = both + self.context(context)
        hidden, direct = both.split(self.split, -1)
        for layer in self.inner:
            hidden = layer(elu(hidden))
        return (self.last(elu(hidden)) + direct).unflatten(-1, (2, -1)).unbind(-2)


class _MaskedLinear(nn.Linear):
    """A linear map without the connections that lead to a lower degree."""

    mask: torch.Tensor

    def __init__(self, inputs: torch.Tensor, outputs: torch.Tensor, *, bias: bool = True) -> None:
        super().__init__(len(inputs), len(outputs), bias)
        self.register_buffer("mask", (outputs[:, None] >= inputs).to(self.weight.dtype), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight * self.mask, self.bias)
