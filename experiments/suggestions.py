"""What a misspelt key was meant to be."""

import difflib
from collections.abc import Iterable, Sequence

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

__all__ = ["as_it_stands", "groups", "is_choice", "parsed", "unknown_choice", "unknown_key"]

LISTED = 12  # keys that a line lists


def groups() -> list[str]:
    """The groups of the configuration."""
    return GlobalHydra.instance().config_loader().list_groups("")


def parsed(words: Iterable[str]) -> list[Override]:
    """Hydra's own reading of the command line's words."""
    return OverridesParser.create().parse_overrides([str(word) for word in words])


def is_choice(override: Override, known: Iterable[str]) -> bool:
    """Whether it is of a group, as ``prior`` or ``trainer/stopping``, and not of a key."""
    return override.key_or_group in known or "/" in override.key_or_group


def as_it_stands(overrides: Sequence[Override], config_name: str = "config") -> DictConfig:
    """The configuration with the choices of groups alone, all other words left out: what may be set, and to what."""
    known = set(groups())
    chosen = [str(one.input_line) for one in overrides if is_choice(one, known) and not one.is_delete()]
    return compose(config_name, chosen)


def unknown_choice(error: Exception) -> str | None:
    """What to say of a choice that its group has not, as ``prior=vmap``, where another is near; else None."""
    if not isinstance(error, MissingConfigException) or not error.options:
        return None
    group, _, given = str(error.missing_cfg_file).rpartition("/")
    near = difflib.get_close_matches(given, list(error.options), n=1)
    return f"there is no {group}={given}; did you mean {group}={near[0]}?" if group and near else None


def unknown_key(path: str, configuration: DictConfig, beside: Iterable[str] = ()) -> str | None:
    """What to say of a key that the configuration has not, as ``objective.bet``; None for one that it has.

    ``beside``: groups, and whatever else may be given at the top beside the configuration's keys.
    """
    node, walked = configuration, list[str]()
    for part in path.split("."):
        if not OmegaConf.is_dict(node):
            return None if not walked else f"{'.'.join(walked)} has no keys; {path} was given"
        keys = [str(key) for key in node]
        if not walked:
            keys += beside
        if part not in keys:
            return _meant([*walked, part], keys)
        walked.append(part)
        node = OmegaConf.select(configuration, ".".join(walked))
    return None


def _meant(walked: list[str], keys: list[str]) -> str:
    *above, part = walked
    line = f"there is no key {'.'.join(walked)}"
    near = difflib.get_close_matches(part, keys, n=1)
    if near:
        return f"{line}; did you mean {'.'.join([*above, near[0]])}?"
    if above and len(keys) <= LISTED:
        more = f"; +{'.'.join(walked)}=… gives another to what it names" if "_target_" in keys else ""
        return f"{line}; {'.'.join(above)} has {', '.join(keys)}{more}"
    return f"{line}; --help lists the groups and keys"
