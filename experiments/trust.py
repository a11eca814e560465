"""Which names a configuration that somebody else may have written can have run."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import ppvae.datasets
from ppvae import Objective
from ppvae.svi import Recipe, StoppingRule

from . import pairs
from .given import Given
from .own_names import importable, named

__all__ = ["check_names"]

OPEN = ("ppvae", "guides", "torch.nn", "torch.optim")
"""Packages whose classes a file may name."""

OURS = ("ppvae", "guides", "experiments", "torch")

PARTS = (nn.Module, Objective, Recipe, StoppingRule, Optimizer, LRScheduler)
"""What these classes have to be: making one of them writes nothing and starts nothing."""

FUNCTIONS = {"ppvae.datasets": ppvae.datasets.__all__, "experiments.pairs": pairs.__all__}
JOBS = "experiments.jobs"
NAMING = ("job", "figures", "prepare", "measure")
"""Keys whose value names a function of `experiments.jobs`."""

DOTTED = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")


def check_names(node: Any, given: Given) -> None:
    """ValueError for a name, anywhere in a configuration, that is neither ours nor torch's nor `given`.

    Names are the values of `_target_` (classes of parts of a pair, data sets, `experiments.pairs`) and of job,
    figures, prepare and measure (functions of `experiments.jobs`), in overrides such as `guide._target_=…` too.
    What a name leads to must be defined there: `ppvae.files.os.system` is not.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            _check_entry(str(key), value, given)
    elif isinstance(node, list):
        for value in node:
            if isinstance(value, str):
                _check_override(value, given)
            check_names(value, given)


def _check_entry(key: str, value: Any, given: Given) -> None:
    last = key.rpartition(".")[2]
    if last == "_target_" and value is not None:
        _check(key, value, given, _is_part)
    elif last in NAMING and isinstance(value, str):
        _check(key, value, given, _is_job)
    else:
        check_names(value, given)


def _check_override(text: str, given: Given) -> None:
    """An override in a list, as a study gives them to its models."""
    if "=" not in text:
        return
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return  # no override, or none that can be composed
    names = override.is_sweep_override() and re.search(rf"_target_|\b({'|'.join(NAMING)})=", text)
    if names or override.key_or_group.split(".")[0].split("/")[0] in ("hydra", "allow"):
        raise ValueError(f"the override {text!r} is for a command line alone")
    if not override.is_sweep_override():
        _check_entry(override.key_or_group, override.value(), given)


def _check(key: str, name: Any, given: Given, fits: Callable[[str], bool]) -> None:
    if isinstance(name, str) and given.allows(key.rpartition(".")[2], name):
        return
    if not isinstance(name, str) or not fits(name):
        root = str(name).partition(".")[0]
        own = root.isidentifier() and not _is_below(root, OURS)
        remedy = f"; where you trust it, allow=[{root}], or --allow {root} of ppvae's other commands" if own else ""
        raise ValueError(f"{key}={name}: a file may name parts of {', '.join(OPEN)} and jobs of {JOBS} alone{remedy}")


def _is_part(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module in FUNCTIONS and attribute in FUNCTIONS[module]:
        return True
    thing = _resolved(name, OPEN)
    return inspect.isclass(thing) and issubclass(thing, PARTS) and _is_below(thing.__module__, OPEN)


def _is_job(name: str) -> bool:
    thing = _resolved(name, (JOBS,))
    return inspect.isfunction(thing) and _is_below(thing.__module__, (importable(JOBS),))


def _resolved(name: str, packages: tuple[str, ...]) -> Any:
    if not DOTTED.fullmatch(name) or not _is_below(name, packages):
        return None
    try:
        return named(name)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_below(name: str, packages: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)
