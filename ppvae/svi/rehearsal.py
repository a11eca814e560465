"""Rehearsals: runs of a step that leave the pair, its objects and all random states as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ppvae.svi.python_state import PythonState

__all__ = ["unchanged"]


@contextmanager
def unchanged(module: nn.Module, *inputs: torch.Tensor) -> Iterator[None]:
    """Put back random states, and the buffers and Python attributes of ``module``, after a rehearsal on ``inputs``."""
    devices = sorted({one.device for one in (*inputs, *module.parameters()) if one.is_cuda}, key=str)
    owners = [(part._buffers, dict(part._buffers)) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    python = PythonState(module)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        python.restore()
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for owner, tensors in owners:  # a step may have put new tensors in their place
            owner.update(tensors)
