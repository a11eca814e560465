"""Capture: record a step's tensor operations once, so that no Pyro handler runs in the training loop.

``make_fx`` above the autograd key writes down every ATen call of one run of Pyro's handlers. Parameters and buffers
become references to the original tensors, random draws stay random, ``detach`` and ``no_grad`` keep their meaning
(below the autograd key they would vanish, and with them every score-function gradient).
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

__all__ = ["capture", "compile_graph", "unchanged"]

logger = logging.getLogger(__name__)


def capture(function: Callable, *inputs: torch.Tensor, preserve: nn.Module) -> fx.GraphModule:
    """``function`` as a graph of ATen operations that gives the same values and gradients.

    ``inputs`` set the shapes the graph is for; tensors are its only step-dependent inputs (a Python number that
    changes is frozen). What ``function`` computes twice is computed once. Recording runs it: the random state and the
    buffers of ``preserve``, the module whose parameters it trains, are put back.

    Errors: RuntimeError where the graph's values or gradients differ from the function's under one seed. A custom
    ``autograd.Function`` (of Beta, Dirichlet, straight-through draws) does not survive recording.
    """
    with unchanged(preserve, *inputs), pyro.validation_enabled(False):
        graph_module = make_fx(lambda *tensors: function(*tensors), pre_dispatch=True)(*inputs)
    _share_attributes(graph_module)
    _drop_identities(graph_module)
    _detach_ungraded(graph_module.graph)
    _merge_repeated(graph_module.graph)
    graph_module.graph.eliminate_dead_code()
    graph_module.recompile()
    with pyro.validation_enabled(False):
        expected, recorded = (_rehearsed(run, inputs, preserve) for run in (function, graph_module))
    if not all(map(_same, recorded, expected)):
        raise RuntimeError("the recorded step's values or gradients differ from the eager step's")
    return graph_module


def compile_graph(graph_module: fx.GraphModule, *inputs: torch.Tensor, preserve: nn.Module) -> Callable | None:
    """The graph through ``torch.compile``; None, with the reason logged, where that fails."""
    try:
        # eager's random draws, so that one seed means one result however the step runs
        compiled = torch.compile(graph_module, dynamic=False, fullgraph=True, options={"fallback_random": True})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # torch's own, of its compiler
            _rehearsed(compiled, inputs, preserve)  # compiles forwards and backwards
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        logger.warning("torch.compile failed, the captured graph runs uncompiled: %s", reason)
        return None
    return compiled


@contextmanager
def unchanged(module: nn.Module, *inputs: torch.Tensor) -> Iterator[None]:
    """Put back the random state and the buffers of ``module`` after a rehearsal on ``inputs``."""
    devices = sorted({tensor.device for tensor in inputs if tensor.is_cuda}, key=str)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])


def _rehearsed(run: Callable, inputs: tuple[torch.Tensor, ...], module: nn.Module) -> list[torch.Tensor | None]:
    """Outputs of one run under a fixed seed, and the gradients of the sum of those that have one."""
    with unchanged(module, *inputs):
        torch.manual_seed(0)
        outputs = [output for output in tree_leaves(run(*inputs)) if isinstance(output, torch.Tensor)]
        graded = [output.sum() for output in outputs if output.requires_grad]
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(sum(graded), parameters, allow_unused=True) if graded and parameters else ()
    return [*(output.detach() for output in outputs), *gradients]


def _same(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    """Equal but for the rounding of a reordered sum; a missing gradient is a zero one."""
    if first is None or second is None:
        return all(tensor is None or not tensor.any() for tensor in (first, second))
    return bool(((first - second).abs() <= 1e-3 * second.abs().max()).all())


def _share_attributes(graph_module: fx.GraphModule) -> None:
    """One ``get_attr`` node for each tensor, however often it is read."""
    first: dict[int, fx.Node] = {}
    start = next(node for node in graph_module.graph.nodes if node.op != "placeholder")
    for node in list(graph_module.graph.nodes):
        if node.op != "get_attr":
            continue
        key = id(getattr(graph_module, node.target))
        if key in first:
            node.replace_all_uses_with(first[key])
            graph_module.graph.erase_node(node)
        else:
            first[key] = node
            if node is not start:
                start.prepend(node)


def _drop_identities(graph_module: fx.GraphModule) -> None:
    """Remove each ``to`` that changes nothing: eager returns the tensor itself, also under ``no_grad``."""
    for node in list(graph_module.graph.nodes):
        if getattr(node.target, "overloadpacket", None) is torch.ops.aten.to and not _argument(node, "copy"):
            source = node.args[0]
            before = getattr(graph_module, source.target) if source.op == "get_attr" else source.meta.get("val")
            after = node.meta.get("val")
            tensors = isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor)
            if tensors and (before.dtype, before.device) == (after.dtype, after.device):
                node.replace_all_uses_with(source)
                graph_module.graph.erase_node(node)


def _argument(node: fx.Node, name: str) -> Any:
    """An operator's argument by name, None where it is left at its default."""
    names = [argument.name for argument in node.target._schema.arguments]
    return dict(zip(names, node.args, strict=False), **node.kwargs).get(name)


def _detach_ungraded(graph: fx.Graph) -> None:
    """Replace switches of grad mode by ``detach`` on what leaves a region without gradients, or is written there."""
    enabled, ungraded = True, []
    for node in list(graph.nodes):
        if node.target is torch._C._set_grad_enabled:
            enabled = node.args[0]
            graph.erase_node(node)
        elif not enabled and node.op == "call_function":
            ungraded.append(node)
    inside = set(ungraded)
    for node in ungraded:
        for source in _read_by_a_write(node):  # else the buffer written would join the gradient's graph
            with graph.inserting_before(node):
                node.replace_input_with(source, graph.call_function(torch.ops.aten.detach.default, (source,)))
        outside = [user for user in node.users if user not in inside]
        if outside and isinstance(node.meta.get("val"), torch.Tensor):
            with graph.inserting_after(node):
                detached = graph.call_function(torch.ops.aten.detach.default, (node,))
            for user in outside:
                user.replace_input_with(node, detached)


def _merge_repeated(graph: fx.Graph) -> None:
    """Common subexpressions computed once, forward and therefore backward."""
    if any(_changes_intermediate(node) for node in graph.nodes):
        return
    changing = {buffer for node in graph.nodes for buffer in _written(node)}
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or not _is_pure(node) or changing.intersection(node.all_input_nodes):
            continue
        key = (node.target, _frozen(node.args), _frozen(node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
            graph.erase_node(node)
        else:
            seen[key] = node


def _changes_intermediate(node: fx.Node) -> bool:
    """An in-place operation on anything but a parameter or buffer."""
    return any(argument.op != "get_attr" for argument in _written(node))


def _written(node: fx.Node) -> list[fx.Node]:
    """What an in-place operation changes; nothing for any other."""
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return []
    written = [a for a, d in zip(node.args, schema.arguments, strict=False) if d.alias_info and d.alias_info.is_write]
    return [argument for argument in written if isinstance(argument, fx.Node)]


def _read_by_a_write(node: fx.Node) -> list[fx.Node]:
    """Intermediate tensors that an in-place operation reads to change another."""
    written = _written(node)
    others = [source for source in node.all_input_nodes if source not in written and source.op != "get_attr"]
    return [source for source in others if isinstance(source.meta.get("val"), torch.Tensor)] if written else []


def _is_pure(node: fx.Node) -> bool:
    """Same arguments, same value, nothing else changed. Normalisation layers update their running statistics."""
    operator = node.target
    if not isinstance(operator, torch._ops.OpOverload):
        return operator.__name__ == "getitem"
    random = torch.Tag.nondeterministic_seeded in operator.tags
    return not (random or operator._schema.is_mutable or "batch_norm" in operator.name() or "empty" in operator.name())


def _frozen(value: Any) -> Any:
    """``value`` as something hashable; numbers keep their type, since 1, 1.0 and True are equal but differ."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in sorted(value.items()))
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    return value if isinstance(value, fx.Node) else (type(value), value)
