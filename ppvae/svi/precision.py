"""bf16 where it is harmless: inside networks, and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["in_bf16", "networks_of"]


def networks_of(module: nn.Module, run: Callable[[], object]) -> list[nn.Module]:
    """The outermost modules that give tensors and draw nothing while ``run`` runs: what is safe in lower precision.

    A head that gives a distribution, a prior that draws, a program: these are not, but the modules they call may be.
    """
    own = set(module.modules())
    impure: set[nn.Module] = set()
    stack: list[nn.Module] = []
    calls: list[tuple[nn.Module, ...]] = []

    def enter(part: nn.Module, _inputs: Any) -> None:
        if part in own:
            stack.append(part)
            calls.append(tuple(stack))

    def leave(part: nn.Module, _inputs: Any, outputs: Any) -> None:
        if part in own:
            stack.pop()
            if not all(isinstance(one, torch.Tensor) for one in tree_leaves(outputs)):
                impure.add(part)

    class Drawing(Messenger):
        def _pyro_sample(self, _msg: dict[str, Any]) -> None:
            impure.update(stack)

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        with Drawing():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    outermost = (next((part for part in call if part not in impure), None) for call in calls)
    return list(dict.fromkeys(part for part in outermost if part is not None))


@contextmanager
def in_bf16(networks: list[nn.Module], device: torch.device) -> Iterator[None]:
    """Run ``networks`` under autocast to bfloat16; what they give is float32 again."""
    contexts: list[torch.autocast] = []

    def enter(_part: nn.Module, _inputs: Any) -> None:
        contexts.append(torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False))
        contexts[-1].__enter__()

    def leave(_part: nn.Module, _inputs: Any, outputs: Any) -> Any:
        contexts.pop().__exit__(None, None, None)
        return tree_map(_single, outputs)

    hooks = [hook for part in networks for hook in (part.register_forward_pre_hook(enter), _leaving(part, leave))]
    try:
        yield
    finally:
        while contexts:
            contexts.pop().__exit__(None, None, None)
        for hook in hooks:
            hook.remove()


def _leaving(part: nn.Module, leave: Callable) -> Any:
    return part.register_forward_hook(leave)


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value
