"""Merging: what a recorded graph computes twice is computed once, forward and therefore backward."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from ppvae.svi.operators import argument, is_pure, updates_statistics, written
from ppvae.svi.recording import fresh_constants

__all__ = [
    "Storages",
    "Values",
    "drop_idle_views",
    "merge_repeated",
    "read_buffers_themselves",
    "share_attributes",
    "storages_of",
    "values_of",
]

type Values = dict[fx.Node, Any]
type Storages = dict[fx.Node, frozenset[int]]
VIEWS = {
    torch.ops.aten.expand.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten.view.default,
    torch.ops.aten.flatten.using_ints,
    torch.ops.aten.contiguous.default,
}


def share_attributes(graph_module: fx.GraphModule) -> None:
    """One ``get_attr`` node for each tensor, however often it is read; constants made alike are one tensor."""
    first: dict[Any, fx.Node] = {}
    fresh = fresh_constants(graph_module.graph)
    start = next(node for node in graph_module.graph.nodes if node.op != "placeholder")
    for node in list(graph_module.graph.nodes):
        if node.op != "get_attr":
            continue
        tensor = getattr(graph_module, node.target)
        key = _content(tensor) if node in fresh else id(tensor)
        if key in first:
            node.replace_all_uses_with(first[key])
            graph_module.graph.erase_node(node)
        else:
            first[key] = node
            if node is not start:
                start.prepend(node)


def _content(tensor: torch.Tensor) -> Any:
    if tensor.numel() > 64 or tensor.device.type != "cpu":
        return id(tensor)
    return tensor.dtype, tuple(tensor.shape), repr(tensor.tolist())


def values_of(graph_module: fx.GraphModule, *inputs: torch.Tensor) -> Values:
    """Every node's value in one run of the graph, which advances the random state and the buffers as a step does."""
    run = fx.Interpreter(graph_module, garbage_collect_values=False)  # values stay: no memory is used twice
    with torch.no_grad():
        run.run(*inputs)
    return run.env


def storages_of(values: Values) -> Storages:
    """The memory behind each node's tensors: a view shares its origin's."""
    return {node: frozenset(map(_memory, _tensors(value))) for node, value in values.items()}


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided]


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def drop_idle_views(graph: fx.Graph, values: Values) -> None:
    """Remove each view that is its origin again, such as what broadcasting makes of equal shapes."""
    for node in list(graph.nodes):
        origin = _origin(node)
        if origin is not None and _same_place(values[node], values[origin]) and _same_recorded(node, origin):
            node.replace_all_uses_with(origin)
            graph.erase_node(node)


def _origin(node: fx.Node) -> fx.Node | None:
    """What the node shows, where it may be the same again."""
    if node.target in VIEWS:
        return node.args[0]
    if node.op == "call_function" and getattr(node.target, "__name__", "") == "getitem":
        listed, index = node.args
        if listed.target is torch.ops.aten.broadcast_tensors.default:
            return listed.args[0][index]
    return None


def _same_recorded(node: fx.Node, origin: fx.Node) -> bool:
    """Alike when they were recorded as well, maybe on more images than ``values`` are of."""
    notes = [one.meta.get("val") for one in (node, origin)]
    return not all(isinstance(one, torch.Tensor) for one in notes) or notes[0].shape == notes[1].shape


def _same_place(one: torch.Tensor, other: torch.Tensor) -> bool:
    shape = one.shape == other.shape and one.stride() == other.stride() and one.dtype == other.dtype
    return shape and one.data_ptr() == other.data_ptr() and _memory(one) == _memory(other)


def read_buffers_themselves(graph: fx.Graph) -> None:
    """Whoever reads what a write to a buffer returns, the same tensor, reads the buffer, at whatever distance."""
    for node in graph.nodes:
        targets = written(node)
        if node.args and targets == [node.args[0]] and targets[0].op == "get_attr":
            node.replace_all_uses_with(targets[0])


def merge_repeated(graph: fx.Graph, storages: Storages) -> None:
    """Common subexpressions computed once.

    A value read before a write and after it is two values, and what is written later is never merged with its like.
    Two calls of a normalisation in training mode are one call, whose momenta leave the running statistics where the
    calls one after the other would have left them.
    """
    merging = _Merging(graph, storages)
    for node in list(graph.nodes):
        merging.add(node)
    for calls in merging.calls.values():
        _fold_momenta(calls)


class _Merging:
    """A walk through the graph; ``versions`` counts the writes to each memory so far."""

    def __init__(self, graph: fx.Graph, storages: Storages) -> None:
        self.storages = storages
        self.versions: Counter[int] = Counter()
        self.changing = {memory for node in graph.nodes for one in written(node) for memory in self._of(one)}
        self.statistics = _foldable(graph, self._of)
        self.seen: dict[Any, fx.Node] = {}
        self.calls: dict[Any, list[tuple[fx.Node, float]]] = defaultdict(list)  # of a layer, with their momenta

    def add(self, node: fx.Node) -> None:
        """Keep ``node``, or replace it by its like."""
        layer = self._layer(node)
        merged = self._merged(node) if layer or (is_pure(node) and not self._begins_to_change(node)) else node
        if layer:
            self.calls[layer].append((merged, argument(node, "momentum")))
        for one in written(node) if merged is node else ():
            self.versions.update(self._of(one))
        if merged is not node:
            node.replace_all_uses_with(merged)
            node.graph.erase_node(node)

    def _merged(self, node: fx.Node) -> fx.Node:
        arguments, ignored = node.args, set()
        if self._layer(node):  # the output depends on neither statistics nor momentum
            arguments = (*arguments[:6], *arguments[7:])
            ignored = {*self._layer(node)}
        read = tuple((one, tuple(sorted((m, self.versions[m]) for m in self._of(one)))) for one in node.all_input_nodes)
        state = tuple(entry for entry in read if entry[0] not in ignored)
        kind = getattr(node.meta.get("val"), "dtype", None)  # under autocast it is not the arguments' alone
        return self.seen.setdefault((node.target, kind, _frozen(arguments), _frozen(node.kwargs), state), node)

    def _layer(self, node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
        """The running statistics of a normalisation whose calls may be merged."""
        if not updates_statistics(node):
            return None
        layer = argument(node, "running_mean"), argument(node, "running_var")
        return layer if layer in self.statistics else None

    def _begins_to_change(self, node: fx.Node) -> bool:
        """Whether the node's own memory is written later on."""
        borrowed = {memory for one in node.all_input_nodes for memory in self._of(one)}
        return bool((self._of(node) - borrowed) & self.changing)

    def _of(self, node: fx.Node) -> frozenset[int]:
        return self.storages.get(node, frozenset())


def _foldable(graph: fx.Graph, memory_of: Callable[[fx.Node], frozenset[int]]) -> set[tuple[fx.Node, fx.Node]]:
    """Running statistics that nothing but their own layer's normalisations touches."""
    touched: dict[int, set[Any]] = defaultdict(set)
    layers = set()
    for node in graph.nodes:
        layer = None
        if updates_statistics(node) and not node.kwargs:
            layer = argument(node, "running_mean"), argument(node, "running_var")
            layers.add(layer)
        for one in node.all_input_nodes:
            for memory in memory_of(one):
                touched[memory].add(layer if layer and one in layer else node)
    return {layer for layer in layers if all(touched[m] == {layer} for one in layer for m in memory_of(one))}


def _fold_momenta(calls: list[tuple[fx.Node, float]]) -> None:
    """Momenta of the calls that are left, so that their statistics end where those of all ``calls`` would.

    Each call makes of r the mean (1 − m) r + m a with its batch's a; in the end a has the weight of all its calls. A
    momentum is that weight over the weights so far, what was there before among them: 1 − (1 − m)² for two calls of
    one batch.
    """
    before, weights = 1.0, dict.fromkeys((call for call, _ in calls), 0.0)
    if len(weights) == len(calls):
        return
    for call, momentum in calls:
        before *= 1 - momentum
        weights = {one: weight * (1 - momentum) for one, weight in weights.items()}
        weights[call] += momentum
    total = before
    for call, weight in weights.items():
        total += weight
        call.update_arg(6, weight / total if total else 0.0)


def _frozen(value: Any) -> Any:
    """``value`` as something hashable; numbers keep their type, since 1, 1.0 and True are equal but differ."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in sorted(value.items()))
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    return value if isinstance(value, fx.Node) else (type(value), repr(value))
