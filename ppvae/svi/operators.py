"""What an operation of a recorded graph does beside giving a value: what it writes, whether it draws."""

from typing import Any

import torch
from torch import fx

__all__ = ["argument", "is_pure", "must_stay", "updates_statistics", "written"]

NORMS = (torch.ops.aten.batch_norm.default, torch.ops.aten.instance_norm.default)


def written(node: fx.Node) -> list[fx.Node]:
    """What an operation changes in place, running statistics (which its schema hides) among it."""
    if updates_statistics(node):
        return [argument(node, name) for name in ("running_mean", "running_var")]
    schema = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None or not schema.is_mutable:
        return []
    names = [one.name for one in schema.arguments if one.alias_info and one.alias_info.is_write]
    changed = torch.utils._pytree.tree_leaves([argument(node, name) for name in names])
    return [one for one in changed if isinstance(one, fx.Node)]


def updates_statistics(node: fx.Node) -> bool:
    """A normalisation that updates its running mean and variance, on which its output then does not depend."""
    if node.target not in NORMS or argument(node, "running_mean") is None:
        return False
    return bool(argument(node, "training" if node.target is NORMS[0] else "use_input_stats"))


def is_pure(node: fx.Node) -> bool:
    """Same arguments, same value, nothing changed."""
    operator = node.target
    if node.op != "call_function" or written(node):
        return False
    if not isinstance(operator, torch._ops.OpOverload):
        return getattr(operator, "__name__", "") == "getitem"
    draws = torch.Tag.nondeterministic_seeded in operator.tags
    return not (draws or operator._schema.is_mutable or "empty" in operator.name())


def must_stay(node: fx.Node) -> bool:
    """What dead-code elimination must leave though nobody reads it: writes, draws, updates of running statistics."""
    return node.op in ("placeholder", "output") or updates_statistics(node) or node.is_impure()


def argument(node: fx.Node, name: str) -> Any:
    """An operator's argument by name, None where it is left at its default."""
    names = [one.name for one in node.target._schema.arguments]
    return dict(zip(names, node.args, strict=False), **node.kwargs).get(name)
