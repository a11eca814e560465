"""A recorded graph through ``torch.compile``, on demand under a budget of memory."""

import logging
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import fx, nn
from torch.utils.checkpoint import CheckpointPolicy

from ppvae.svi.agreement import rehearsed

__all__ = ["compile_graph"]

logger = logging.getLogger(__name__)


def compile_graph(
    graph_module: fx.GraphModule, *inputs: torch.Tensor, preserve: nn.Module, memory_budget: float | None = None
) -> Callable | None:
    """The graph through ``torch.compile``; None, with the reason logged, where that fails.

    ``memory_budget``: share of its activations that the compiled step may keep for its backward pass; draws are kept
    whatever it is.
    """
    # eager's random draws, so that one seed means one result however the step runs
    options: dict[str, Any] = {"fallback_random": True}
    if memory_budget is not None:
        options["joint_custom_pre_pass"] = _keeping_noise()
    try:
        compiled = torch.compile(graph_module, dynamic=False, fullgraph=True, options=options)
        with warnings.catch_warnings(), _budget(memory_budget):
            warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # torch's own, of its compiler
            rehearsed(compiled, *inputs, preserve=preserve)  # compiles forwards and backwards
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        logger.warning("torch.compile failed, the captured graph runs uncompiled: %s", reason)
        return None
    return compiled


def _budget(share: float | None) -> AbstractContextManager:
    """What the compiler takes for the share of activations to keep; else all, as it finds best."""
    return nullcontext() if share is None else torch._functorch.config.patch(activation_memory_budget=share)


def _keeping_noise() -> Any:
    """A pass that has the compiler keep each draw: computed again it would be another (seen with torch 2.15, whose
    list of operations that draw lacks those of ``normal_``, so that gradients were of the size of the truth off it).
    """
    from torch._inductor.custom_graph_pass import CustomGraphPass  # here: it imports the compiler

    class KeepingNoise(CustomGraphPass):
        def __call__(self, graph: fx.Graph) -> None:
            for node in graph.nodes:
                if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                    node.meta["recompute"], node.meta["ac_graph_id"] = CheckpointPolicy.MUST_SAVE, 0

        def uuid(self) -> str:
            return "draws are kept, 1"

    return KeepingNoise()
