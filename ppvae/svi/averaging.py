"""An exponential moving average of the parameters, and the pair with it in their place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn, update_bn

__all__ = ["Average"]

SEED = 0  # of what re-estimating BatchNorm's statistics draws


class Average:
    """The average of a module's parameters, each once, whoever shares it.

    After n updates the decay is min(``decay``, (1 + n) / (10 + n)), so that the start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.names = dict(module.named_parameters())
        self.updates = 0
        self.values = [parameter.detach().clone() for parameter in self.names.values()]
        self.norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]

    def update(self) -> None:
        """Move the average towards the parameters as they are."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        get_ema_multi_avg_fn(decay)(self.values, [p.detach() for p in self.names.values()], self.updates)
        self.updates += 1

    @contextmanager
    def applied(self, passes: Callable[[], Iterator[tuple]], run: nn.Module) -> Iterator[None]:
        """The average in the parameters' place; ``run`` is called with some batches for BatchNorm's statistics."""
        kept = [parameter.detach().clone() for parameter in self.names.values()]
        buffers = [(buffer, buffer.clone()) for norm in self.norms for buffer in norm.buffers()]
        self.put(passes, run)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.names.values(), kept, strict=True):
                    parameter.copy_(value)
                for buffer, value in buffers:
                    buffer.copy_(value)

    def put(self, passes: Callable[[], Iterator[tuple]], run: nn.Module) -> None:
        """The average into the parameters, for good."""
        with torch.no_grad():
            for parameter, value in zip(self.names.values(), self.values, strict=True):
                parameter.copy_(value)
        if self.norms:
            device = self.values[0].device
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(SEED)
                update_bn(passes(), run)

    def state(self) -> dict[str, Any]:
        """What the parameters, and BatchNorm's statistics, are in training, by name; for a checkpoint."""
        return {
            "tensors": {name: one.detach().clone() for name, one in self._moving().items()},
            "updates": self.updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take the parameters as they are, a checkpoint's, for the average; put those of training in their place."""
        self.values = [parameter.detach().clone() for parameter in self.names.values()]
        self.updates = state["updates"]
        with torch.no_grad():
            for name, one in self._moving().items():
                one.copy_(state["tensors"][name])

    def _moving(self) -> dict[str, torch.Tensor]:
        buffers = {id(buffer) for norm in self.norms for buffer in norm.buffers()}
        return self.names | {name: one for name, one in self.module.named_buffers() if id(one) in buffers}
