"""Capture: record a step's tensor operations once, so that no Pyro handler runs in the training loop."""

import logging
from collections.abc import Callable

import pyro
import torch
from torch import fx, nn

from ppvae.svi.agreement import agree, in_double
from ppvae.svi.gradient_modes import detach_ungraded, drop_identities
from ppvae.svi.merging import (
    Values,
    drop_idle_views,
    merge_repeated,
    read_buffers_themselves,
    share_attributes,
    storages_of,
    values_of,
)
from ppvae.svi.operators import must_stay
from ppvae.svi.python_state import PythonState, python_draws
from ppvae.svi.recording import Description, change, description, record, same_operations
from ppvae.svi.rehearsal import unchanged

__all__ = ["capture", "merge_by", "simplify", "unchanged"]

logger = logging.getLogger(__name__)


def capture(
    function: Callable,
    *inputs: torch.Tensor,
    preserve: nn.Module,
    later: Callable[[], object] = lambda: None,
    tell: Callable[[str], object] = lambda _: None,
    rounding: tuple[float, float] | None = None,
) -> fx.GraphModule:
    """``function`` as a graph of ATen operations that gives the same values, gradients and buffers.

    ``inputs`` set the shapes the graph is for; tensors are its only step-dependent inputs. What ``function`` computes
    twice is computed once. Recording runs it: the random states, and buffers and attributes of ``preserve``, the
    module whose parameters it trains, are put back. ``later`` is called before the function is recorded again, and
    does what else may change between two steps; ``tell`` hears what is going on. ``rounding``: how far a function that
    computes in bf16 may be off its own graph, as :func:`~ppvae.svi.agreement.agree` takes it; it knows no float64.

    Errors: RuntimeError where Python would change what is recorded (a number that a step changes, a branch on a
    random number or a tensor's value), and where values, gradients or buffers differ from the function's under one
    seed. A custom ``autograd.Function`` (of Beta, Dirichlet, straight-through draws) does not survive recording.
    """
    with unchanged(preserve, *inputs), pyro.validation_enabled(False):
        tell("recording the step")
        graph_module = record(function, *inputs)
        recorded = description(graph_module)
        _refuse_python(function, inputs, preserve)
        later()
        tell("merging what repeats")
        _merge(graph_module, inputs, preserve)
        tell("comparing with the eager step")
        if rounding is not None:
            _refuse(change(recorded, description(record(function, *inputs))))
            _refuse_difference(agree(graph_module, function, *inputs, preserve=preserve, rounding=rounding))
            return graph_module
        wide, agreed = _in_double(function, description(graph_module), inputs, preserve)
        if wide is None or change(recorded, wide):  # float64 may have numbers of its own, such as its smallest
            _refuse(change(recorded, description(record(function, *inputs))))
        _refuse_difference(agreed or agree(graph_module, function, *inputs, preserve=preserve))
    return graph_module


def _refuse(reason: str | None) -> None:
    if reason:
        raise RuntimeError(reason)


def _refuse_difference(agreed: bool) -> None:
    if not agreed:
        raise RuntimeError("the recorded step's values, gradients or buffers differ from the eager step's")


def _refuse_python(function: Callable, inputs: tuple[torch.Tensor, ...], module: nn.Module) -> None:
    """RuntimeError where a run changes Python's state; the first run, which may fill caches, lies behind."""
    before = PythonState(module)
    with python_draws() as draws:
        function(*inputs)
    if draws:
        raise RuntimeError(f"a step draws random numbers by {', '.join(sorted(draws))}, which torch does not see")
    _refuse(before.changed(PythonState(module)))


def _in_double(
    function: Callable, merged: Description, inputs: tuple[torch.Tensor, ...], module: nn.Module
) -> tuple[Description | None, bool]:
    """The function recorded in float64, None where its code refuses that, and whether it agrees with eager there.

    It speaks for the graph of float32 only where merging left the same operations of both.
    """
    wide = tuple(one.double() if one.is_floating_point() else one for one in inputs)
    try:
        with in_double(module):
            graph_module = record(function, *wide)
            recorded = description(graph_module)
            _merge(graph_module, wide, module)
            speaks = same_operations(merged, description(graph_module))
            return recorded, speaks and agree(graph_module, function, *wide, preserve=module)
    except Exception as error:
        logger.debug("no comparison in float64: %s", error)
        return None, False


def _merge(graph_module: fx.GraphModule, inputs: tuple[torch.Tensor, ...], module: nn.Module) -> None:
    """What is computed twice once, and nothing that nobody needs."""
    simplify(graph_module)
    with unchanged(module, *inputs):
        values = values_of(graph_module, *inputs)
    merge_by(graph_module, values)


def simplify(graph_module: fx.GraphModule) -> None:
    """One node for each tensor, no operation that changes nothing, and no switch of grad mode."""
    share_attributes(graph_module)
    drop_identities(graph_module)
    detach_ungraded(graph_module.graph)


def merge_by(graph_module: fx.GraphModule, values: Values) -> None:
    """Merge what repeats in a simplified graph, given its values in one run, and drop what nobody needs."""
    drop_idle_views(graph_module.graph, values)
    merge_repeated(graph_module.graph, storages_of(values))
    read_buffers_themselves(graph_module.graph)
    graph_module.graph.eliminate_dead_code(must_stay)
    graph_module.recompile()
