"""What the configurations may compute."""

from omegaconf import OmegaConf

__all__ = ["register_resolvers"]


def register_resolvers() -> None:
    """``${or:a,b}``: a, or b where a is null. Once a process; a worker that composes nothing needs it as well."""
    OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
