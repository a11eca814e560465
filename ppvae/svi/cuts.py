"""Where to cut a recorded graph, so that its pieces, recomputed one at a time, need the least memory."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import fx
from torch.autograd.graph import saved_tensors_hooks

from ppvae.svi.merging import Storages, storages_of
from ppvae.svi.operators import written

__all__ = ["Costs", "best_cuts", "costs", "operations"]

CANDIDATES = 200  # places that are looked at, in shares of equal saved bytes


@dataclass(frozen=True)
class Costs:
    """What a cut after each of n operations costs, in bytes; parameters, buffers and inputs count nothing.

    ``saved`` (n,): what autograd first keeps at an operation. ``made``, ``used``, ``sizes`` (m,): of each piece of
    memory the operation that makes it, the last that reads it, its bytes. ``allowed`` (n,): whether a cut is possible.
    """

    saved: np.ndarray
    made: np.ndarray
    used: np.ndarray
    sizes: np.ndarray
    allowed: np.ndarray

    def crossing(self) -> np.ndarray:
        """Bytes that are needed on both sides of a cut after each operation, (n,)."""
        change = np.zeros(len(self.saved) + 1)
        np.add.at(change, self.made, self.sizes)
        np.add.at(change, self.used, -self.sizes)
        return np.cumsum(change)[:-1]

    def handed_on(self, starts: np.ndarray, end: int) -> np.ndarray:
        """Bytes made after each of ``starts`` and up to ``end`` that are needed after it."""
        lives = (self.made <= end) & (self.used > end)
        order = np.argsort(self.made[lives])
        sums = np.append(np.cumsum(self.sizes[lives][order][::-1])[::-1], 0)
        return sums[np.searchsorted(self.made[lives][order], starts, side="right")]


def operations(graph: fx.Graph) -> list[fx.Node]:
    """All nodes that compute, in their order."""
    return [node for node in graph.nodes if node.op == "call_function"]


def costs(
    graph_module: fx.GraphModule, *inputs: torch.Tensor, times: float = 1.0
) -> tuple[Costs, Storages, set[fx.Node]]:
    """What cuts cost, the memory behind each value, and the nodes whose values have a gradient.

    Measured in one run forwards, which advances the random state and the buffers as a step does. ``times``: as many
    images as the inputs have is what a step will be given; tensors that begin with their number grow.
    """
    graph, run = graph_module.graph, _Saving(graph_module, len(inputs[0]), times)
    run.run(*inputs)
    storages, nodes = storages_of(run.env), operations(graph)
    known = {m for node in graph.nodes if node.op in ("placeholder", "get_attr") for m in storages.get(node, ())}
    place = {node: index for index, node in enumerate(nodes)}
    sizes = {m: size for m, size in run.sizes.items() if m not in known}
    made: dict[int, int] = {}
    used: dict[int, int] = {}
    for node in nodes:
        last = max((place.get(user, len(nodes)) for user in node.users), default=place[node])
        for memory in storages.get(node, frozenset()) - known:
            made.setdefault(memory, place[node])
            used[memory] = max(used.get(memory, 0), last)
    saved = np.zeros(len(nodes))
    for memory, node in run.first.items():
        saved[place[node]] += sizes.get(memory, 0)
    measured = Costs(
        saved,
        np.array([made[m] for m in made], dtype=int),
        np.array([used[m] for m in made], dtype=int),
        np.array([sizes[m] for m in made], dtype=float),
        _allowed(nodes, place, run.env, storages),
    )
    graded = {node for node, value in run.env.items() if isinstance(value, torch.Tensor) and value.requires_grad}
    return measured, storages, graded


class _Saving(fx.Interpreter):
    """Notes the size of each memory, and the operation at which autograd first keeps it."""

    def __init__(self, graph_module: fx.GraphModule, images: int, times: float) -> None:
        super().__init__(graph_module, garbage_collect_values=False)  # values stay: no memory is used twice
        self.images, self.times = images, times
        self.sizes: dict[int, float] = {}
        self.first: dict[int, fx.Node] = {}
        self.kept: list[torch.Tensor] = []

    def run_node(self, node: fx.Node) -> object:
        def keep(tensor: torch.Tensor) -> torch.Tensor:
            self._note(tensor)
            self.first.setdefault(tensor.untyped_storage()._cdata, node)
            self.kept.append(tensor.detach())
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            value = super().run_node(node)
        for tensor in torch.utils._pytree.tree_leaves(value):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return value

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        times = self.times if tensor.dim() and len(tensor) == self.images else 1.0
        self.sizes[storage._cdata] = max(times * storage.nbytes(), self.sizes.get(storage._cdata, 0))


def _allowed(nodes: list[fx.Node], place: dict[fx.Node, int], values: dict, storages: Storages) -> np.ndarray:
    """No cut where anything but tensors would have to cross it, nor between a value and a later write to it."""
    writes: dict[int, int] = {}
    for node in nodes:
        for one in written(node):
            writes.update(dict.fromkeys(storages.get(one, ()), place[node]))
    forbidden = np.zeros(len(nodes) + 1)
    for node in nodes:
        last = max((place.get(user, len(nodes)) for user in node.users), default=place[node])
        if isinstance(values[node], torch.Tensor):
            last = min(last, max((writes[m] for m in storages[node] if m in writes), default=place[node]))
        elif all(not isinstance(leaf, torch.Tensor) for leaf in torch.utils._pytree.tree_leaves(values[node])):
            continue  # a region of autocast is entered anew
        if last > place[node]:
            forbidden[place[node]] += 1
            forbidden[last] -= 1
    return np.cumsum(forbidden)[:-1] == 0


def best_cuts(costs: Costs, segments: int) -> list[int]:
    """The operations after which to cut, for at most so many segments, so that a step's peak is the least.

    While a segment runs backwards there are the values that the segments before it have handed on, and what autograd
    keeps of the segment itself.
    """
    places = _candidates(costs)
    total = np.cumsum(costs.saved)
    kept = total[places][None, :] - np.append(0, total)[np.append(-1, places[:-1]) + 1][:, None]
    handed = np.stack([costs.handed_on(np.append(-1, places[:-1]), end) for end in places[:-1]], 1)
    low, high, found = 0.0, float(total[-1]), []
    for _ in range(12):
        middle = (low + high) / 2
        cuts = _within(middle, kept, handed, segments)
        low, high, found = (low, middle, cuts) if cuts is not None else (middle, high, found)
    return [int(places[cut]) for cut in found]


def _candidates(costs: Costs) -> np.ndarray:
    """Of each share of the saved bytes the place that least crosses; the last is the graph's end."""
    share = np.cumsum(costs.saved) / max(1.0, costs.saved.sum()) * CANDIDATES
    crossing = np.where(costs.allowed, costs.crossing(), np.inf)
    groups: dict[int, int] = {}
    for index in np.flatnonzero(np.isfinite(crossing)[:-1]):
        group = int(share[index])
        if group not in groups or crossing[index] <= crossing[groups[group]]:
            groups[group] = int(index)
    return np.array([*sorted(groups.values()), len(crossing) - 1])


def _within(most: float, kept: np.ndarray, handed: np.ndarray, segments: int) -> list[int] | None:
    """Cuts whose peak is at most so many bytes, None where there are none.

    ``kept`` and ``handed``: of the segment from each start to each end; start i + 1 is end i.
    """
    count = len(kept)
    before = np.full(count, np.inf)  # the least that is handed on up to a start
    before[0] = 0
    origins: list[np.ndarray] = []
    for _ in range(segments):
        last = np.flatnonzero(before + kept[:, -1] <= most)
        if len(last):
            return _traced(int(last[np.argmin(before[last])]), origins)
        fits = before[:, None] + kept[:, :-1] <= most
        ahead = np.where(fits & (np.arange(count)[:, None] <= np.arange(count - 1)), before[:, None] + handed, np.inf)
        origins.append(np.argmin(ahead, 0))
        before = np.append(np.inf, ahead.min(0))
    return None


def _traced(start: int, origins: list[np.ndarray]) -> list[int]:
    cuts = []
    for origin in reversed(origins):
        cuts.append(start - 1)
        start = int(origin[start - 1])
    return cuts[::-1]
