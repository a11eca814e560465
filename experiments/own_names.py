"""Names of this package in configurations: ``experiments.…``, whatever it is installed as."""

import pkgutil
from importlib.util import find_spec
from typing import Any

__all__ = ["WRITTEN", "importable", "named"]

WRITTEN = "experiments"


def importable(name: str) -> str:
    """A name as a configuration writes it, ``experiments.jobs.single.run``, as it is imported here.

    A checkout has this package as ``experiments``, a wheel as ``ppvae_experiments``, which clashes with nobody's.
    Configurations and recorded runs say ``experiments`` in both, so that each reads the other's; what this package has
    not, as ``experiments.mine.Prior``, is a user's own.
    """
    root, _, rest = name.partition(".")
    if root != WRITTEN or __package__ == WRITTEN or not rest:
        return name
    own = f"{__package__}.{rest.partition('.')[0]}"
    return f"{__package__}.{rest}" if find_spec(own) else name


def named(name: str) -> Any:
    """What a name of a configuration stands for. Errors: as :func:`pkgutil.resolve_name`."""
    return pkgutil.resolve_name(importable(name) if isinstance(name, str) else name)
