"""Gradients of a recorded graph: switches of grad mode become ``detach``, so that operations may move and merge."""

import torch
from torch import fx

from ppvae.svi.operators import argument, written
from ppvae.svi.recording import LIFT

__all__ = ["detach_ungraded", "drop_identities"]


def drop_identities(graph_module: fx.GraphModule) -> None:
    """Remove each ``to`` that changes nothing (eager returns the tensor itself, also under ``no_grad``), and what
    ``torch.tensor`` does to the tensor that it has just made."""
    for node in list(graph_module.graph.nodes):
        if _same_tensor(graph_module, node) or _detaches_constant(node):
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)


def _same_tensor(graph_module: fx.GraphModule, node: fx.Node) -> bool:
    if getattr(node.target, "overloadpacket", None) is not torch.ops.aten.to or argument(node, "copy"):
        return False
    source = node.args[0]
    before = getattr(graph_module, source.target) if source.op == "get_attr" else source.meta.get("val")
    after = node.meta.get("val")
    tensors = isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor)
    return tensors and (before.dtype, before.device) == (after.dtype, after.device)


def _detaches_constant(node: fx.Node) -> bool:
    return node.target is torch.ops.aten.detach_.default and node.args[0].target is LIFT


def detach_ungraded(graph: fx.Graph) -> None:
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


def _read_by_a_write(node: fx.Node) -> list[fx.Node]:
    """Intermediate tensors that an in-place operation reads to change another."""
    changed = written(node)
    others = [source for source in node.all_input_nodes if source not in changed and source.op != "get_attr"]
    return [source for source in others if isinstance(source.meta.get("val"), torch.Tensor)] if changed else []
