"""Evaluation that leaves no trace: modes, random state, gradients and the parameter store stay as they were."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

__all__ = ["device_of", "evaluating", "modules_of", "parameter_store_kept", "rehearsing", "unit_of"]


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
    modes: dict[nn.Module, bool] = {}

    def still(part: nn.Module) -> None:
        modes[part], part.training = part.training, False

    with _aside(device), _met(programs, still):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


@contextmanager
def rehearsing(*programs: Any, device: torch.device | str = "cpu") -> Iterator[None]:
    """Run ``programs`` as in training, without gradients, and put back what they change.

    That is the random state, the parameter store, and their modules' modes, buffers and attributes.
    """
    kept: list[tuple[nn.Module, dict[str, Any], dict[str, torch.Tensor | None], dict[str, torch.Tensor]]] = []

    def ready(part: nn.Module) -> None:
        held = {name: buffer.clone() for name, buffer in part._buffers.items() if buffer is not None}
        kept.append((part, dict(vars(part)), dict(part._buffers), held))
        part.training = True

    with _aside(device), _met(programs, ready):
        try:
            yield
        finally:
            for part, attributes, buffers, held in kept:
                vars(part).update(attributes)
                part._buffers.update(buffers)
                for name, values in held.items():
                    buffers[name].copy_(values)


@contextmanager
def _aside(device: torch.device | str) -> Iterator[None]:
    """Without gradients, with the random state and the parameter store put back."""
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda), parameter_store_kept():
        yield


@contextmanager
def _met(programs: Iterable[Any], meet: Callable[[nn.Module], None]) -> Iterator[None]:
    """Call ``meet`` once with each part of the programs' modules, and of those that are called inside."""
    known: set[nn.Module] = set()

    def first(module: nn.Module, *_: Any) -> None:
        if module not in known:
            parts = [part for part in module.modules() if part not in known]
            known.update(parts)
            for part in parts:
                meet(part)

    hook = register_module_forward_pre_hook(first)
    try:
        for module in modules_of(programs):
            first(module)
        yield
    finally:
        hook.remove()
