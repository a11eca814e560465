"""What a program is but for its weights."""

import zlib
from typing import Any

import torch
from torch import nn

__all__ = ["plain_attributes", "settings_of"]

SETTINGS = (bool, int, float, str, tuple)
PLACED = (nn.ParameterList, nn.ParameterDict)  # their words tell the device, and shapes that checkpoints have as well


def settings_of(program: nn.Module) -> dict[str, str]:
    """By module: its class, what it was built with, its plain attributes (no whole numbers: they may count steps), and
    a checksum of the buffers that no checkpoint holds, which are constants."""
    found = {}
    for name, module in program.named_modules():
        attributes = {key: value for key, value in plain_attributes(module).items() if type(value) is not int}
        built = "" if isinstance(module, PLACED) else " ".join(module.extra_repr().split())
        text = f"{type(module).__qualname__}({built})"
        text += "".join(f" {key}={value!r}" for key, value in attributes.items())
        constants = [module._buffers[key] for key in sorted(module._non_persistent_buffers_set)]
        found[name] = text + "".join(f" {_checksum(one)}" for one in constants if one is not None)
    return found


def plain_attributes(module: nn.Module) -> dict[str, Any]:
    """The plain numbers and names that a module keeps beside its tensors; not its mode."""
    settings = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    return {name: value for name, value in sorted(settings.items()) if isinstance(value, SETTINGS)}


def _checksum(tensor: torch.Tensor) -> str:
    return f"{zlib.crc32(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()):08x}"
