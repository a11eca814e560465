"""Evaluation that leaves no trace: modes, random state, gradients and the parameter store stay as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import nn

__all__ = ["device_of", "evaluating", "parameter_store_kept", "unit_of"]


def device_of(*programs: Any) -> torch.device:
    """Where the programs' parameters are; the CPU for programs without any."""
    modules = [program for program in programs if isinstance(program, nn.Module)]
    return next((p.device for module in modules for p in module.parameters()), torch.device("cpu"))


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

    ``seed`` fixes that stream; without it the caller's stream is continued and then put back.
    """
    device = torch.device(device)
    modules = [m for program in programs if isinstance(program, nn.Module) for m in program.modules()]
    modes = [module.training for module in modules]
    cuda = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda), parameter_store_kept():
        if seed is not None:
            torch.manual_seed(seed)
        try:
            for module in modules:
                module.training = False
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
