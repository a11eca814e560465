"""Evaluation that leaves no trace: modes, random state, gradients and the parameter store stay as they were."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

__all__ = ["device_of", "evaluating", "modules_of", "parameter_store_kept", "unit_of"]


def modules_of(programs: Iterable[Any]) -> list[nn.Module]:
    """The modules among the programs, and those whose bound methods they are."""
    owners = [program if isinstance(program, nn.Module) else getattr(program, "__self__", None) for program in programs]
    return [owner for owner in owners if isinstance(owner, nn.Module)]


def device_of(*programs: Any) -> torch.device:
    """Where the programs' parameters are; without any, where the tensors among ``programs`` are, else the CPU."""
    parameters = [p for module in modules_of(programs) for p in module.parameters()]
    tensors = [program for program in programs if isinstance(program, torch.Tensor)]
    return next((tensor.device for tensor in [*parameters, *tensors]), torch.device("cpu"))


def unit_of(model: Any) -> str:
    """``nats``, or ``surrogate nats`` where the model's likelihood says that it is a surrogate, no density."""
    return "surrogate nats" if getattr(getattr(model, "likelihood", None), "surrogate", False) else "nats"


@contextmanager
def parameter_store_kept() -> Iterator[None]:
    """Read Pyro's global parameter store as it is; what is added inside is gone outside."""
    with pyro.get_param_store().scope(pyro.get_param_store().get_state()):
        yield


@contextmanager
def evaluating(*programs: Any, device: torch.device | str = "cpu", seed: int | None = None) -> Iterator[None]:
    """Run ``programs`` in evaluation mode, without gradients, on a random stream of their own.

    Their modules are in that mode from the start, those that a plain function calls from their first call on.
    ``seed`` fixes that stream; without it the caller's stream is continued and then put back.
    """
    device = torch.device(device)
    modes: dict[nn.Module, bool] = {}

    def still(module: nn.Module, *_: Any) -> None:
        if module not in modes:
            for part in module.modules():
                modes.setdefault(part, part.training)
                part.training = False

    cuda = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda), parameter_store_kept():
        if seed is not None:
            torch.manual_seed(seed)
        hook = register_module_forward_pre_hook(still)
        try:
            for module in modules_of(programs):
                still(module)
            yield
        finally:
            hook.remove()
            for module, mode in modes.items():
                module.training = mode
