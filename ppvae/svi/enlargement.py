"""The graph of a step on a batch too large to be compared with eager: recorded, and told by one of a few images.

Comparing takes several times the memory of a step, recording as much as one without a backward pass: less than training
in segments. What is the same on few images and on many, operation by operation, is compared on few.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyro
import torch
from torch import fx, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_leaves

from ppvae.svi.agreement import COARSE, agree
from ppvae.svi.capture import merge_by, simplify
from ppvae.svi.merging import values_of
from ppvae.svi.recording import description, record, same_operations
from ppvae.svi.rehearsal import unchanged

__all__ = ["Inputs", "Recorded", "enlarged", "few_of"]

type Inputs = tuple[torch.Tensor, ...]
PART = 16  # of a batch: comparing in float64 took four times the memory of a plain step


class Recorded(NamedTuple):
    """A step's graph, and one of the same operations that was compared with the eager step, ``on`` inputs with maybe
    fewer images; ``times`` as many has the step."""

    graph: fx.GraphModule
    compared: fx.GraphModule
    on: Inputs
    times: float = 1.0


def few_of(*inputs: torch.Tensor) -> Inputs:
    """A step's inputs, the last of which are its numbers, with two or more of the images, so that none is broadcast."""
    *data, numbers = inputs
    count = max(2, len(data[0]) // PART)
    return *(one[:count] for one in data), numbers


def enlarged(
    graph_module: fx.GraphModule,
    function: Callable,
    few: Inputs,
    inputs: Inputs,
    *,
    preserve: nn.Module,
    rounding: tuple[float, float] = COARSE,
) -> fx.GraphModule:
    """``function``'s graph on ``inputs``, of the operations of ``graph_module``, which was captured on ``few``.

    Values and buffers are compared with the function's; gradients were, on the few.

    Errors: RuntimeError where the number of images changes more than numbers, and where values or buffers differ.
    """
    with unchanged(preserve, *inputs), pyro.validation_enabled(False):
        small = record(function, *few)
        with _nothing_kept():
            large = record(function, *inputs)
        _refuse_difference(same_operations(description(small), description(large)))
        for one in (small, large):
            simplify(one)
        with unchanged(preserve, *few):
            values = values_of(small, *few)
        pairs = zip(large.graph.nodes, small.graph.nodes, strict=True)
        merge_by(large, {node: values[like] for node, like in pairs if like in values})
        _refuse_difference(same_operations(description(graph_module), description(large)))
        runs = _ungraded(large), _ungraded(function)
        with _nothing_kept():  # under no_grad a step might do something else, such as leave its buffers alone
            _refuse_difference(agree(*runs, *inputs, preserve=preserve, rounding=rounding))
    return large


def _refuse_difference(same: bool) -> None:
    if not same:
        raise RuntimeError("what a step computes depends on how many images it is given")


def _ungraded(function: Callable) -> Callable:
    """What gives the function's tensors without their gradients."""
    return lambda *inputs: [one.detach() for one in tree_leaves(function(*inputs)) if isinstance(one, torch.Tensor)]


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Record a run whose gradient nobody will ask for: autograd keeps nothing."""

    def refuse(_: Any) -> torch.Tensor:
        raise RuntimeError("a step that takes gradients itself keeps what it needs")

    with saved_tensors_hooks(lambda _: None, refuse):
        yield
