"""Evaluation that leaves no trace: modules' modes, random state and gradients stay as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["evaluating"]


@contextmanager
def evaluating(*programs: Any, device: torch.device | str = "cpu", seed: int | None = None) -> Iterator[None]:
    """Run ``programs`` in evaluation mode, without gradients, on a random stream of their own.

    ``seed`` fixes that stream; without it the caller's stream is continued and then put back.
    """
    device = torch.device(device)
    modules = [m for program in programs if isinstance(program, nn.Module) for m in program.modules()]
    modes = [module.training for module in modules]
    cuda = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            for module in modules:
                module.training = False
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
