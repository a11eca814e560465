"""One piece of a cut graph, twice: as it runs first, and as it runs again for its gradients, writing no buffers."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.amp.autocast_mode import _enter_autocast, _exit_autocast

from ppvae.svi.merging import Storages
from ppvae.svi.operators import must_stay, updates_statistics, written

__all__ = ["Piece", "piece", "regions_after"]

STATISTICS = 3, 4  # their places among a normalisation's arguments


@dataclass(frozen=True)
class Piece:
    """Some operations of a graph, from the values of the nodes ``reads`` to those of ``gives``.

    Both graphs take a list for the regions of autocast they are in, those values, and the ``tensors``, parameters and
    buffers; ``again`` gives the values with a gradient alone, whose places ``graded`` names. Of what they take, the
    second run needs what ``needed`` names, and of ``changing``, which a step writes to, copies from before the first.
    """

    first: fx.GraphModule
    again: fx.GraphModule
    reads: list[fx.Node]
    gives: list[fx.Node]
    graded: list[int]
    tensors: list[torch.Tensor]
    needed: set[int]
    changing: set[int]

    def run(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The values of ``gives`` from those of ``reads`` and the tensors."""
        return _run(self.first, values)

    def run_again(self, *values: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Those of ``gives`` that have a gradient."""
        return _run(self.again, values)


def _run(graph: fx.GraphModule, values: Iterable[torch.Tensor | None]) -> tuple[torch.Tensor, ...]:
    regions: list[Any] = []
    try:
        return graph(regions, *values)
    finally:
        while regions:  # that the piece's end cuts through
            _leave(regions)


def piece(
    graph_module: fx.GraphModule,
    nodes: Sequence[fx.Node],
    opened: Sequence[fx.Node],
    storages: Storages,
    changed: Collection[int],
    graded: Collection[fx.Node],
) -> Piece:
    """The piece of ``nodes``, with the regions of autocast that ``opened`` entered before it.

    ``changed``: the memory that the graph writes to; ``graded``: the nodes whose values have a gradient.
    """
    inside = set(nodes)
    outside = dict.fromkeys(one for node in nodes for one in node.all_input_nodes if one not in inside)
    reads = [node for node in outside if node.op != "get_attr" and not _enters(node)]
    attributes = [node for node in outside if node.op == "get_attr"]
    gives = [node for node in nodes if any(user not in inside for user in node.users) and not _enters(node)]
    places = [index for index, node in enumerate(gives) if node in graded]
    free, kept = _writes(nodes, attributes, storages, changed)
    tensors = [getattr(graph_module, node.target) for node in attributes]
    if any(tensors[index].requires_grad for index in kept):
        raise RuntimeError("a step that writes to its parameters cannot be recomputed")
    first = _graph(nodes, opened, [*reads, *attributes], gives)
    again = _graph(nodes, opened, [*reads, *attributes], [gives[index] for index in places], without=free)
    again.eliminate_dead_code(lambda node: must_stay(node) or node.target in (_enter, _leave))
    taken = [node for node in again.nodes if node.op == "placeholder"][1:]
    needed = {index for index, node in enumerate(taken) if node.users}
    changing = {len(reads) + index for index in kept} & needed
    graphs = [fx.GraphModule(torch.nn.Module(), graph) for graph in (first, again)]
    return Piece(*graphs, reads, gives, places, tensors, needed, changing)


def _writes(
    nodes: Sequence[fx.Node], attributes: Sequence[fx.Node], storages: Storages, changed: Collection[int]
) -> tuple[set[fx.Node], list[int]]:
    """Whose writes a second run can do without, as nothing else in the piece reads there, and which attributes change
    in a step and are read, so that it needs copies."""
    idle = {node for node in nodes if _only_writes(node)}
    read: set[int] = set()
    for node in nodes:
        own = written(node) if node in idle else ()
        read.update(memory for one in node.all_input_nodes if one not in own for memory in storages.get(one, ()))
    free = {node for node in idle if not any(read & storages.get(one, frozenset()) for one in written(node))}
    memory = [storages.get(node, frozenset()) & read & frozenset(changed) for node in attributes]
    kept = [index for index, own in enumerate(memory) if own]
    if len(frozenset().union(*memory)) < len(kept):
        raise RuntimeError("a step that writes to a buffer of two names cannot be recomputed")
    return free, kept


def _only_writes(node: fx.Node) -> bool:
    """To buffers, of which its value, where anybody reads that, does not depend."""
    targets = written(node)
    if not targets or any(one.op != "get_attr" for one in targets):
        return False
    return not node.users or (updates_statistics(node) and not node.kwargs)


def _graph(
    nodes: Iterable[fx.Node],
    opened: Sequence[fx.Node],
    outside: Iterable[fx.Node],
    gives: Iterable[fx.Node],
    *,
    without: Collection[fx.Node] = (),
) -> fx.Graph:
    """A graph of copies; ``without`` the writes of some."""
    graph = fx.Graph()
    regions = graph.placeholder("regions")
    copies = {node: graph.placeholder(f"from_{node.name}") for node in outside}
    for node in opened:
        graph.call_function(_enter, (regions, *node.args))
    for node in nodes:
        if _enters(node):
            graph.call_function(_enter, (regions, *node.args))
        elif node.target is _exit_autocast:
            graph.call_function(_leave, (regions,))
        elif node not in without or updates_statistics(node):
            copies[node] = graph.node_copy(node, copies.__getitem__)
            for place in STATISTICS if node in without else ():
                copies[node].update_arg(place, None)
    graph.output(tuple(copies[node] for node in gives))
    return graph


def regions_after(nodes: Iterable[fx.Node], opened: Sequence[fx.Node]) -> list[fx.Node]:
    """The regions of autocast that are open after ``nodes``, where those of ``opened`` were before."""
    entered = [*opened, *(node for node in nodes if _enters(node))]
    left = {node.args[0] for node in nodes if node.target is _exit_autocast}
    return [node for node in entered if node not in left]


def _enters(node: fx.Node) -> bool:
    return node.target is _enter_autocast


def _enter(regions: list[Any], *settings: Any) -> None:
    regions.append(_enter_autocast(*settings))


def _leave(regions: list[Any]) -> None:
    _exit_autocast(regions.pop())
