"""What the configurations may compute."""

import sys

from omegaconf import OmegaConf

from .own_names import importable

__all__ = ["register_resolvers"]


def register_resolvers() -> None:
    """``${or:a,b}``: a, or b where a is null. ``${console_level:progress}``: what is logged on stderr.

    ``${own_name:experiments.folders.RunFolder}``: as that is imported here, for what Hydra itself imports.

    Once a process; a worker that composes nothing needs them as well.
    """
    OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
    OmegaConf.register_new_resolver("console_level", _console_level, replace=True)
    OmegaConf.register_new_resolver("own_name", importable, replace=True)


def _console_level(progress: object) -> str:
    """Epochs are told on a terminal by the bar, in a file or pipe by lines, and not at all without progress."""
    return "INFO" if str(progress).lower() in ("true", "yes", "on", "1") and not sys.stderr.isatty() else "WARNING"
