"""Configurations from files that somebody else may have written: read, bounded, and held against what was given."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ppvae import UserError
from ppvae.errors import one_line

from .given import Given
from .plain_yaml import read_plain_yaml
from .references import check_references
from .trust import check_names

__all__ = ["load_configuration"]

GROUPS = ("data", "prior", "likelihood", "guide", "objective", "model", "trainer")
"""What every run's configuration has."""


def load_configuration(path: Path, given: DictConfig, *, to_build: bool = True) -> DictConfig:
    """The ``config.yaml`` of a run, which only names what is ours, torch's, or in the configuration ``given``.

    ``given``: the user's own, as composed; its ``allow`` lists prefixes of further names, the file's own is not
    heard. ``to_build=False``: only to be compared, whatever it names. Errors: :class:`~ppvae.UserError`, one line
    that names the file, for whatever is no configuration of a run, names anything else, reads the environment, or
    grows without end.
    """
    content, _ = read_plain_yaml(path)
    own = Given.by(given)
    content["allow"] = list(own.allowed)
    try:
        if missing := [group for group in GROUPS if not isinstance(content.get(group), dict)]:
            raise ValueError(f"it has no {missing[0]}, as the configuration of a run has")
        check_references(content, own.strings)
        if to_build:
            check_names(content, own)
        configuration = OmegaConf.create(content)
        OmegaConf.to_container(configuration, resolve=True)  # what cannot be is said now
        return configuration
    except Exception as error:  # OmegaConf's grammar has errors of its own
        raise UserError(f"{str(path)!r} is no configuration to go by: {one_line(error)}") from None
