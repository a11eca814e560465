"""The door from the library to the application above it, which reads configurations and so knows finished runs."""

import importlib
from collections.abc import Sequence
from os import PathLike
from types import ModuleType
from typing import Any

from ppvae.errors import UserError

__all__ = ["application", "load"]

CANDIDATES = ("ppvae_experiments", "experiments")
"""What the application is called where it is installed, and in a checkout."""


def application(module: str) -> ModuleType:
    """A module of the application, by its name below it; UserError where none is installed."""
    for package in CANDIDATES:
        try:
            return importlib.import_module(f"{package}.{module}")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.{module}"):
                raise  # something else that it needs is missing
    raise UserError(
        f"runs are read by the application, and none of {', '.join(CANDIDATES)} is installed: install ppvae's wheel, "
        "or work in a checkout of it"
    )


def load(folder: str | PathLike[str], *, allow: Sequence[str] = ()) -> Any:
    """A finished run, ``runs/NAME/TIME``, or what ``run.export`` wrote of one, ready to encode, draw and score.

    Nothing in the folder is executed: its configuration may name parts of ppvae, guides and torch alone, and what
    ``allow`` begins, such as ``allow=["mine"]`` for a guide ``mine.Guide``; its tensors are read as tensors. The pair
    is on the CPU; ``run.model`` and ``run.guide`` move as any module does.

    Errors: :class:`~ppvae.errors.UserError`, one line, for a folder that is no run, a run that is not finished, a
    configuration that names anything else, and files that are damaged.
    """
    return application("finished").load(folder, allow=allow)
