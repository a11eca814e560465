"""Recording: one run of a function as a graph of ATen operations, and what differs between two recordings.

``make_fx`` above the autograd key writes down every ATen call of one run. Parameters and buffers become references to
the original tensors, random draws stay random, ``detach`` and ``no_grad`` keep their meaning (below the autograd key
they would vanish, and with them every score-function gradient).
"""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import torch
from torch import fx
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, make_fx
from torch.overrides import TorchFunctionMode

__all__ = ["LIFT", "Description", "change", "description", "fresh_constants", "record", "same_operations"]

type Description = list[tuple[str, tuple, tuple]]

LIFT = torch.ops.aten.lift_fresh_copy.default  # of a tensor made from Python numbers during the run
READS = {
    getattr(torch.Tensor, name)
    for name in ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__complex__")
}
WIDTHS = {torch.float32: torch.float64, torch.complex64: torch.complex128}


def record(function: Callable, *inputs: torch.Tensor) -> fx.GraphModule:
    """``function`` as it ran on ``inputs``.

    Errors: RuntimeError where it reads a tensor's value in Python, which no graph can follow.
    """

    def guarded(*tensors: torch.Tensor) -> Any:
        with _Reads():
            return function(*tensors)

    with tracing(TracingContext(_Shapes())):  # else each value gets such a mode, and its call stack, of its own
        return make_fx(guarded, pre_dispatch=True)(*inputs)


class _Shapes(FakeTensorMode):
    """Notes the shapes of values that exist, so that no device needs to be looked for."""

    avoid_device_init = False


class _Reads(TorchFunctionMode):
    """Refuses to read a tensor's value, unless it was made of Python numbers during the run."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function in READS and not _made_here(args[0]):
            raise RuntimeError(f"it reads the value of a tensor in Python ({function.__name__}), which may change")
        return function(*args, **(kwargs or {}))


def _made_here(tensor: torch.Tensor) -> bool:
    tracer = get_proxy_mode().tracer
    entry = get_proxy_slot(tensor, tracer, None)
    if entry is None or entry.constant is None:
        return False
    waiting, seen = [entry.proxy.node], set()
    while waiting:
        node = waiting.pop()
        if node.op != "call_function":
            return False
        if node.target is not LIFT and node not in seen:
            waiting.extend(node.all_input_nodes)
        seen.add(node)
    return True


def fresh_constants(graph: fx.Graph) -> set[fx.Node]:
    """The ``get_attr`` nodes of tensors that were made of Python numbers while recording."""
    return {n for n in graph.nodes if n.op == "get_attr" and all(user.target is LIFT for user in n.users)}


def description(graph_module: fx.GraphModule) -> Description:
    """For each node its operation, the places of what it reads, and the numbers and tensors among its arguments."""
    lines: Description = []
    place: dict[fx.Node, int] = {}
    fresh = fresh_constants(graph_module.graph)
    for node in graph_module.graph.nodes:
        place[node] = len(place)
        if node.op == "get_attr":
            tensor = getattr(graph_module, node.target)
            lines.append(("a tensor", (), (tensor.detach().clone() if node in fresh else id(tensor),)))
            continue
        flat, structure = torch.utils._pytree.tree_flatten((node.args, node.kwargs))
        reads = tuple(place[leaf] if isinstance(leaf, fx.Node) else None for leaf in flat)
        numbers = tuple(leaf for leaf in flat if not isinstance(leaf, fx.Node))
        lines.append((str(node.target), (reads, str(structure)), numbers))
    return lines


def same_operations(first: Description, second: Description) -> bool:
    """Whether two graphs hold the same operations in the same order, on numbers that may differ."""
    return [line[:2] for line in first] == [line[:2] for line in second]


def change(first: Description, second: Description) -> str | None:
    """How two recordings of one function differ, as a phrase; None where they do not.

    The second may be of the function in float64: numbers must be the same, tensors as far as float32 holds them.
    """
    for one, other in zip_longest(first, second, fillvalue=("nothing", (), ())):
        if one[:2] != other[:2]:
            return f"its operations differ from one step to the next ({one[0]}, then {other[0]})"
        for before, after in zip_longest(one[2], other[2]):
            if not _same_leaf(before, after):
                return "what it computes in Python changes from one step to the next" + _told(before, after)
    return None


def _told(before: Any, after: Any) -> str:
    values = [v.item() if isinstance(v, torch.Tensor) and v.numel() == 1 else v for v in (before, after)]
    return f" ({values[0]}, then {values[1]})" if all(isinstance(v, int | float) for v in values) else ""


def _same_leaf(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        if before.shape != after.shape or WIDTHS.get(before.dtype, before.dtype) != WIDTHS.get(
            after.dtype, after.dtype
        ):
            return False
        if before.dtype == after.dtype:
            return torch.equal(before.nan_to_num(), after.nan_to_num()) and torch.equal(before.isnan(), after.isnan())
        return torch.allclose(before.to(after.dtype), after, rtol=1e-6, atol=0, equal_nan=True)
    if isinstance(before, torch.dtype) and isinstance(after, torch.dtype):
        return WIDTHS.get(before, before) == WIDTHS.get(after, after)
    if isinstance(before, float) and before != before:
        return isinstance(after, float) and after != after
    return type(before) is type(after) and before == after
