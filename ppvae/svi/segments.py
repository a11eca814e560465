"""Recomputation: a recorded step cut into segments, which keep what they were given and compute the rest again.

Checkpoints in a user's own code do not survive recording, so the recorded graph itself is cut. Chen et al., *Training
deep nets with sublinear memory cost* (2016), https://arxiv.org/abs/1604.06174.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from ppvae.svi.agreement import COARSE, agree
from ppvae.svi.cuts import best_cuts, costs, operations
from ppvae.svi.enlargement import Recorded
from ppvae.svi.merging import Storages
from ppvae.svi.operators import written
from ppvae.svi.pieces import piece, regions_after
from ppvae.svi.recomputed import Recomputed
from ppvae.svi.rehearsal import unchanged

__all__ = ["Segmented", "segmented"]


@dataclass(frozen=True)
class Plan:
    """Where each piece of a graph starts among its operations; the memory behind its values; those with a gradient."""

    starts: list[int]
    storages: Storages
    graded: set[fx.Node]

    def carried(self, graph: fx.Graph, other: fx.Graph) -> "Plan":
        """The plan of a graph for another of the same operations."""
        like = dict(zip(graph.nodes, other.nodes, strict=True))
        return Plan(self.starts, {like[n]: m for n, m in self.storages.items()}, {like[n] for n in self.graded})


def segmented(
    found: Recorded, segments: int, *, preserve: nn.Module, rounding: tuple[float, float] = COARSE
) -> "Segmented":
    """A step's graph in at most so many segments, cut where it then needs the least memory.

    Each but the last is computed again in the backward pass, with the same noise, and writes buffers the first time
    alone: running statistics and counts are updated once a step. Where to cut is measured, and the segments' values,
    gradients and buffers are compared with the graph's, on the images on which that was compared with the eager step.
    Buffers of ``preserve`` and random states are left as they were.

    Errors: RuntimeError for a graph that writes to its inputs or parameters, or whose segments give other values.
    """
    graph_module, small, images, times = found
    with unchanged(preserve, *images):
        measured, storages, graded = costs(small, *images, times=times)
    plan = Plan([0, *(cut + 1 for cut in best_cuts(measured, segments))], storages, graded)
    tried = Segmented(small, plan)
    if not agree(tried, small, *images, preserve=preserve, rounding=rounding):
        raise RuntimeError("values, gradients or buffers of its segments differ from its own")
    return tried if small is graph_module else Segmented(graph_module, plan.carried(small.graph, graph_module.graph))


class Segmented:
    """A graph in shares, run one after another; activations of all but the last are computed again, backwards.

    Same inputs and outputs as the graph's.
    """

    def __init__(self, graph_module: fx.GraphModule, plan: Plan) -> None:
        nodes = graph_module.graph.nodes
        self.placeholders = [node for node in nodes if node.op == "placeholder"]
        self.attributes = {node: getattr(graph_module, node.target) for node in nodes if node.op == "get_attr"}
        (output,) = (node for node in nodes if node.op == "output")
        self.output = output.args[0]
        changed = {memory for node in nodes for one in written(node) for memory in plan.storages.get(one, ())}
        if changed & {memory for node in self.placeholders for memory in plan.storages.get(node, ())}:
            raise RuntimeError("a step that writes to its images cannot be recomputed")
        self.pieces, opened = [], []
        computing = operations(graph_module.graph)
        for start, end in zip(plan.starts, [*plan.starts[1:], None], strict=True):
            share = computing[start:end]
            self.pieces.append(piece(graph_module, share, opened, plan.storages, changed, plan.graded))
            opened = regions_after(share, opened)
        self.done_with = _done_with([one.reads for one in self.pieces], output.all_input_nodes)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        values = dict(zip(self.placeholders, inputs, strict=True))
        for number, (one, done_with) in enumerate(zip(self.pieces, self.done_with, strict=True), start=1):
            given = [values[node] for node in one.reads]
            for node in done_with:
                del values[node]
            if number < len(self.pieces) and one.graded:
                results = Recomputed.apply(one, *given, *one.tensors)
            else:
                results = one.run(*given, *one.tensors)
            values.update(zip(one.gives, results, strict=True))
            del given, results
        return fx.node.map_arg(
            self.output, lambda node: self.attributes[node] if node.op == "get_attr" else values[node]
        )


def _done_with(reads: Sequence[Sequence[fx.Node]], output: Sequence[fx.Node]) -> list[list[fx.Node]]:
    """For each piece the values that nobody reads after it."""
    needed, found = set(output), []
    for nodes in reversed(reads):
        found.append([node for node in nodes if node not in needed])
        needed.update(nodes)
    return found[::-1]
