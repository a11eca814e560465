"""A piece of a graph as one operation of autograd, which keeps what it is given and computes the rest again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ppvae.svi.pieces import Piece

__all__ = ["Recomputed"]

type States = tuple[torch.Tensor, dict[int, torch.Tensor]]
type Gradients = list[torch.Tensor | None]


class Recomputed(torch.autograd.Function):
    """``Recomputed.apply(piece, *values)`` → the piece's values; backwards it runs again, with the same noise.

    Unlike ``torch.utils.checkpoint`` it needs no hook for each tensor that autograd keeps (a sixth of a small step),
    and its second run may be of fewer operations.
    """

    @staticmethod
    def forward(ctx: Any, piece: Piece, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.piece, ctx.states = piece, _states(values)
        kept = [one.clone() if index in piece.changing else one for index, one in enumerate(values)]
        ctx.save_for_backward(*(one if index in piece.needed else None for index, one in enumerate(kept)))
        results = piece.run(*values)
        ctx.mark_non_differentiable(*(one for index, one in enumerate(results) if index not in piece.graded))
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        piece, saved = ctx.piece, ctx.saved_tensors
        # what the second run writes to is copied, as there may be a third
        values = [one.clone() if index in piece.changing else one for index, one in enumerate(saved)]
        values = [one if one is None else one.detach() for one in values]
        leaves = [
            one.requires_grad_()
            for one, wanted in zip(values, ctx.needs_input_grad[1:], strict=True)
            if wanted and one is not None
        ]
        with torch.enable_grad(), _noise_of(ctx.states):
            results = piece.run_again(*values)
        found = iter(_gradients(results, [gradients[index] for index in piece.graded], leaves))
        return None, *(next(found) if one is not None and one.requires_grad else None for one in values)


def _gradients(results: Sequence[torch.Tensor], gradients: Gradients, leaves: list[torch.Tensor]) -> Gradients:
    pairs = [pair for pair in zip(results, gradients, strict=True) if pair[1] is not None]
    if not pairs or not leaves:
        return [None] * len(leaves)
    outputs, given = zip(*pairs, strict=True)
    return list(torch.autograd.grad(outputs, leaves, given, allow_unused=True))


def _states(values: Sequence[torch.Tensor]) -> States:
    """Of the generators that the piece may draw from."""
    devices = {one.get_device() for one in values if one.is_cuda}
    return torch.get_rng_state(), {device: torch.cuda.get_rng_state(device) for device in devices}


@contextmanager
def _noise_of(states: States) -> Iterator[None]:
    own, devices = states
    with torch.random.fork_rng(devices=list(devices)):
        torch.set_rng_state(own)
        for device, state in devices.items():
            torch.cuda.set_rng_state(state, device)
        yield
