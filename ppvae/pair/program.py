"""Pyro programs that own their parameters."""

import weakref
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.runtime import am_i_wrapped, effectful
from torch import nn

from ppvae.described import Described

__all__ = ["Data", "Program", "inputs_of", "record"]

type Data = torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor]
"""What programs are called with: images, or images and further inputs of each, such as labels."""


class Program(Described, nn.Module):
    """A Pyro program (a model or a guide) that is an ``nn.Module`` and whose parameters live in it.

    Plain ``pyro.infer.SVI`` finds the parameters through Pyro's own messages, as with ``pyro.module``, yet nothing
    enters the global parameter store: two pairs in one process cannot overwrite each other.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if am_i_wrapped():
            for name, parameter in self.named_parameters():
                _declare(f"{type(self).__name__}@{id(self):x}$$${name}", parameter)
        return super().__call__(*args, **kwargs)


def inputs_of(data: Data) -> tuple[torch.Tensor, ...]:
    """The arguments of a program: the images, then whatever else comes with each of them."""
    return tuple(data) if isinstance(data, tuple | list) else (data,)


class _Itself(weakref.ref):
    """A weak reference that is pickled as None: the program's next run sets it anew."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()


def _declare(name: str, parameter: nn.Parameter) -> None:
    parameter.unconstrained = _Itself(parameter)  # what SVI asks of a parameter site's value
    effectful(type="param")(lambda *_args, **_kwargs: parameter)(name=name)


def record(name: str, value: torch.Tensor, event_dims: tuple[str, ...] = ("latent",)) -> torch.Tensor:
    """Record ``value`` as a deterministic site of a guide, beside the sites that it shares with the model.

    Shapes: value (image, *event_dims). Training averages it into the history, ``from_pyro_svi`` exports it.
    ``pyro.deterministic`` alone would make Pyro warn of a site that the model lacks.
    """
    infer = {"is_auxiliary": True, "_deterministic": True, "event_dims": list(event_dims)}
    return pyro.sample(name, dist.Delta(value, event_dim=len(event_dims)).mask(False), obs=value, infer=infer)
