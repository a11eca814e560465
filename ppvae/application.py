"""The door from the library to the application above it, which reads configurations and so knows finished runs."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING

from ppvae.errors import UserError

if TYPE_CHECKING:  # as a wheel has it, for who writes scripts
    from ppvae_experiments.finished import FinishedRun

__all__ = ["application", "load"]

NAMES = ("ppvae_experiments", "experiments")  # of the application: as a wheel installs it, and as a checkout has it


def application(module: str) -> ModuleType:
    """A module of the application, by its name below it: no part of this package depends on it.

    Errors: :class:`~ppvae.errors.UserError` where none is installed.
    """
    package = next((name for name in NAMES if find_spec(name)), None)
    if package is None:
        raise UserError(f"none of {', '.join(NAMES)} is installed: install ppvae's wheel, or work in a checkout of it")
    return import_module(f"{package}.{module}")


def load(folder: str | PathLike[str], *, allow: Sequence[str] = ()) -> "FinishedRun":
    """A finished run, ``runs/NAME/TIME``, or what ``run.export`` wrote of one, ready to encode, draw and score.

    Nothing in the folder is executed: its configuration may name parts of ppvae, guides and torch alone, and what
    ``allow`` begins, such as ``allow=["mine"]`` for a guide ``mine.Guide``; its tensors are read as tensors. The pair
    is on the CPU; ``run.model`` and ``run.guide`` move as any module does.

    Errors: :class:`~ppvae.errors.UserError`, one line, for a folder that is no run, a run that is not finished, a
    configuration that names anything else, and files that are damaged.
    """
    return application("finished").load(folder, allow=allow)
