"""A device that is not there: tensors that are said to be elsewhere, so that what mixes devices is noticed without one.

Their numbers are computed on the CPU, so what runs elsewhere gives the CPU's numbers, bit for bit; the device's name is
``meta``, the only one that torch lets anybody claim.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

ELSEWHERE = torch.device("meta")
aten = torch.ops.aten
STRICT = {aten.cat, aten.stack, aten.equal, aten.index_select, aten.gather}  # no scalar of the CPU either
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}  # may be indexed from the CPU


class Placed(torch.Tensor):
    """A tensor elsewhere, whose numbers are ``held``."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Placed":
        options = {"strides": held.stride(), "dtype": held.dtype, "device": ELSEWHERE}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, **options)

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def __repr__(self, **_: Any) -> str:
        return f"Placed({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})


class _Elsewhere(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, _types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {})


class _Made(TorchFunctionMode):
    """torch makes a tensor of Python's numbers out of the dispatcher's sight."""

    def __torch_function__(self, function: Any, _types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        moved = function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None
        if moved and torch.device(kwargs["device"]) == ELSEWHERE:
            del kwargs["device"]
            return function(*args, **kwargs).to(ELSEWHERE)
        return function(*args, **kwargs)


@contextmanager
def _elsewhere(*modules: nn.Module) -> Iterator[torch.device]:
    """The device, to which ``modules`` move now, and tensors inside."""
    with _Elsewhere(), _Made():
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)  # torch would otherwise keep the parameters' type
        try:
            nn.ModuleList(modules).to(ELSEWHERE)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)
        yield ELSEWHERE


@pytest.fixture
def elsewhere() -> Callable[..., AbstractContextManager[torch.device]]:
    """``with elsewhere(*modules) as device``: modules that have not run yet move there, and tensors may."""
    return _elsewhere


@pytest.fixture
def here() -> Callable[[Any], Any]:
    """A tree of tensors with those that are elsewhere on the CPU."""
    return _here


def _here(tree: Any) -> Any:
    return tree_map_only(Placed, lambda one: one.held.detach().clone(), tree)


def _run(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    packet, given = function.overloadpacket, kwargs.get("device")
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    placed = [one for one in tensors if isinstance(one, Placed)]
    if packet is aten.copy_:
        placed = [args[0]] if isinstance(args[0], Placed) else []
    elif packet is not aten._to_copy and placed:
        _check(packet, args, tensors)
    there = given == ELSEWHERE if given is not None else bool(placed)
    if there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{packet}: a generator of the CPU for a tensor elsewhere")
    options = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    if given is not None:
        options["device"] = torch.device("cpu")
    args_here, options = tree_map_only(Placed, lambda one: one.held, (args, options))
    outcome = function(*args_here, **options)
    if not there:
        return outcome
    outcome = tree_map_only(torch.Tensor, Placed, outcome)
    return return_and_correct_aliasing(function, args, kwargs, outcome)


def _check(packet: Any, args: tuple, tensors: list[torch.Tensor]) -> None:
    """RuntimeError as a GPU would have it: tensors of both places, but for scalars of the CPU."""
    if packet in INDEXED and isinstance(args[0], Placed):
        indices = tree_leaves(args[1])
        tensors = [one for one in tensors if not any(one is index for index in indices)]
    others = [one for one in tensors if not isinstance(one, Placed)]
    if any(one.dim() > 0 or packet in STRICT for one in others):
        shapes = [tuple(one.shape) for one in tensors]
        raise RuntimeError(f"{packet}: tensors of two devices, of shapes {shapes}")
