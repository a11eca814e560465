"""Objects that print what they were built with, in one line and by the constructor's names."""

import contextlib
import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Self

import numpy as np
import torch

__all__ = ["Described", "one_line", "shown"]

LISTED = 12  # items of a sequence that are written out
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Described:
    """Notes its constructor's arguments, defaults too, for ``repr``; before ``nn.Module`` among a class's bases.

    Modules among them are not noted: torch prints a module's parts beneath it.
    """

    _built_with: Mapping[str, str] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        with contextlib.suppress(TypeError):  # wrong arguments: the constructor itself says so
            bound = _signature(cls).bind_partial(self, *args, **kwargs)
            bound.apply_defaults()
            given = {name: shown(value) for name, value in bound.arguments.items() if name not in _unnamed(cls)}
            parts = {name for name, value in bound.arguments.items() if isinstance(value, torch.nn.Module)}
            object.__setattr__(self, "_built_with", {k: text for k, text in given.items() if k not in parts})
        return self

    def extra_repr(self) -> str:
        """``name=value, …``, as torch's own modules have it."""
        parts = getattr(self, "_modules", {})
        return ", ".join(f"{name}={text}" for name, text in self._built_with.items() if name not in parts)


def shown(value: Any) -> str:
    """A value in one line: a tensor by its shape, a function by its name, and nothing by its address."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{value.item():g}" if value.shape == () else f"{type(value).__name__}{tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"({len(value)} items)" if len(value) > LISTED else f"({', '.join(map(shown, value))})"
    name = getattr(value, "__name__", None)
    return name or " ".join(ADDRESS.sub("", repr(value)).split())


def one_line(thing: Any, *names: str) -> str:
    """``Name(attribute=value, …)`` of attributes that ``thing`` has."""
    return f"{type(thing).__name__}({', '.join(f'{name}={shown(getattr(thing, name))}' for name in names)})"


@cache
def _signature(cls: type) -> inspect.Signature:
    return inspect.signature(cls.__init__)


@cache
def _unnamed(cls: type) -> set[str]:
    """``self``, and what a constructor takes without a name for it."""
    first, *others = _signature(cls).parameters.values()
    bare = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {first.name, *(parameter.name for parameter in others if parameter.kind in bare)}
