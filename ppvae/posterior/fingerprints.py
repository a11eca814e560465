"""What a call depends on, in short: two calls with one fingerprint give one result."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pyro
import torch
from torch import nn

__all__ = ["hashed", "weights_of"]

SETTINGS = (bool, int, float, str, tuple)


def hashed(*values: Any) -> str:
    """A hash of plain values, arrays and mappings of them."""
    return hashlib.sha256(json.dumps(values, default=_plain, sort_keys=True).encode()).hexdigest()


def weights_of(*programs: Callable) -> str:
    """A hash of the programs' parameters, buffers and settings, and of Pyro's parameter store."""
    digest = hashlib.sha256()
    for program in programs:
        modules = list(program.modules()) if isinstance(program, nn.Module) else []
        digest.update(repr([(type(module).__qualname__, _settings(module)) for module in modules]).encode())
        digest.update((getattr(program, "__qualname__", None) or type(program).__qualname__).encode())
        for module in modules[:1]:
            _add(digest, {**dict(module.named_parameters()), **dict(module.named_buffers())})
    _add(digest, dict(pyro.get_param_store().items()))
    return digest.hexdigest()


def _add(digest: Any, tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        digest.update(repr((name, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())


def _settings(module: nn.Module) -> dict[str, Any]:
    """The plain numbers and names that a module keeps beside its tensors; not its mode."""
    settings = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    return {name: value for name, value in sorted(settings.items()) if isinstance(value, SETTINGS)}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
