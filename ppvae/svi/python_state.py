"""What a step changes in Python: a recorded step would freeze it, so it is found first, and put back after."""

import os
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["PythonState", "python_draws"]

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
BASE = set(vars(nn.Module())) - {"training"}  # parameters, buffers, submodules and hooks: nothing of the class itself
LONG = 1000  # of a longer list the length alone is compared
RANDOM = (random.Random, np.random.Generator, np.random.RandomState)


class PythonState:
    """The plain values that a module, its parts and their objects hold, and every random state beside torch's.

    ``values``: by their path, such as ``likelihood.scale``: numbers, strings, the lengths of lists, the contents of
    arrays. Tensors are left out: a graph reads and writes them itself.
    """

    def __init__(self, module: nn.Module) -> None:
        self.values: dict[str, Any] = {}
        self._restore: list[Callable[[], None]] = []
        self._seen: dict[int, Any] = {}  # holds them, so that no address is used twice
        self._restore.append(partial(random.setstate, random.getstate()))
        self._restore.append(partial(np.random.set_state, np.random.get_state()))  # noqa: NPY002 - users draw from it
        self._visit("", module)

    def changed(self, later: "PythonState") -> str | None:
        """The first value that differs later on, as a phrase; None where none does."""
        for path in sorted(self.values.keys() | later.values.keys()):
            before, after = (state.values.get(path, "nothing") for state in (self, later))
            if not (before is after or (type(before) is type(after) and before == after)):
                told = all(isinstance(value, PLAIN) and len(str(value)) < 40 for value in (before, after))
                return f"{path} changes in a step" + (f", from {before} to {after}" if told else "")
        return None

    def restore(self) -> None:
        """Put everything back as it was."""
        for restore in self._restore:
            restore()

    def _visit(self, path: str, value: Any) -> None:
        if isinstance(value, PLAIN):
            self.values[path] = value
        elif id(value) not in self._seen and not isinstance(value, torch.Tensor | type | ModuleType):
            self._seen[id(value)] = value
            self._visit_once(path, value)

    def _visit_once(self, path: str, value: Any) -> None:
        if isinstance(value, nn.Module):
            self._visit_attributes(path, value, {*vars(value)} - BASE)
            for name, part in value.named_children():
                self._visit(_joined(path, name), part)
        elif isinstance(value, np.ndarray):
            self._visit_array(path, value)
        elif isinstance(value, dict):
            self._visit_dict(path, value)
        elif isinstance(value, list | tuple | set | frozenset | deque):
            self._visit_items(path, value)
        elif isinstance(value, torch.Generator | np.random.RandomState):
            self._restore.append(partial(value.set_state, value.get_state()))
        elif isinstance(value, random.Random):
            self._restore.append(partial(value.setstate, value.getstate()))
        elif isinstance(value, np.random.Generator):
            self._restore.append(partial(setattr, value.bit_generator, "state", value.bit_generator.state))
        elif isinstance(getattr(value, "__dict__", None), dict) and not callable(getattr(value, "__get__", None)):
            self._visit_attributes(path, value, {*vars(value)})

    def _visit_attributes(self, path: str, owner: Any, names: set[str]) -> None:
        attributes = vars(owner)
        kept, others = {name: attributes[name] for name in names}, attributes.keys() - names
        self._restore.append(partial(_put_back, attributes, kept, others))
        for name, value in kept.items():
            self._visit(_joined(path, name), value)

    def _visit_dict(self, path: str, value: dict) -> None:
        self._restore.append(partial(_put_back, value, dict(value), set()))
        self.values[path] = f"length {len(value)}"
        for key in list(value)[:LONG]:
            self._visit(f"{path}[{key!r}]" if isinstance(key, PLAIN) else f"{path}[…]", value[key])

    def _visit_items(self, path: str, value: Any) -> None:
        if isinstance(value, list | deque):
            self._restore.append(partial(_refill, value, list(value)))
        elif isinstance(value, set):
            self._restore.append(partial(_refill_set, value, set(value)))
        self.values[path] = f"length {len(value)}"
        if isinstance(value, set | frozenset):
            self.values[path] = frozenset(item for item in value if isinstance(item, PLAIN))
        else:
            for index, item in enumerate(value if len(value) <= LONG else ()):
                self._visit(f"{path}[{index}]", item)

    def _visit_array(self, path: str, value: np.ndarray) -> None:
        if value.flags.writeable and not value.dtype.hasobject:
            self._restore.append(partial(np.copyto, value, value.copy()))
            self.values[path] = value.tobytes()


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _put_back(now: dict, then: dict, others: set) -> None:
    """The entries of ``then``, and of the rest ``others`` alone; what is as it was is not touched."""
    for name in now.keys() - then.keys() - others:
        del now[name]
    for name, value in then.items():
        if name not in now or now[name] is not value:
            now[name] = value


def _refill(now: list | deque, then: list) -> None:
    if len(now) != len(then) or any(one is not other for one, other in zip(now, then, strict=True)):
        now.clear()
        now.extend(then)


def _refill_set(now: set, then: set) -> None:
    now.clear()
    now.update(then)


@contextmanager
def python_draws() -> Iterator[set[str]]:
    """Collect the names of the functions by which Python code draws random numbers that torch does not know of.

    Python's ``random``, numpy's generators and ``os.urandom``, wherever they live and however rarely the draw matters.
    """
    names: set[str] = set()
    free = [tool for tool in range(6) if sys.monitoring.get_tool(tool) is None]
    if not free:
        yield names
        return
    tool, event = free[-1], sys.monitoring.events.CALL

    def called(_code: Any, _offset: int, function: Any, first: Any) -> None:
        owner = first if isinstance(first, RANDOM) else getattr(function, "__self__", None)
        if isinstance(owner, RANDOM) or function is os.urandom:
            names.add(getattr(function, "__qualname__", None) or repr(function))

    sys.monitoring.use_tool_id(tool, "ppvae")
    try:
        sys.monitoring.register_callback(tool, event, called)
        sys.monitoring.set_events(tool, event)
        yield names
    finally:
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.register_callback(tool, event, None)
        sys.monitoring.free_tool_id(tool)
