"""Folders of configurations besides ours, looked through before Hydra composes, and obeys, what they hold."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args  # the command line as Hydra itself reads it
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ppvae import UserError
from ppvae.errors import one_line

from .given import Given, entries
from .plain_yaml import read_plain_yaml
from .references import check_references

__all__ = ["check_composed", "check_configuration_folders"]

OWN = Path(__file__).parent / "conf"
MOST_FILES = 1000
PACKAGE = re.compile(r"^\s*#\s*@package\s+(?:_global_\.)?hydra\b", re.MULTILINE)
UNSAFE = re.compile(r"[/\\$\x00]|^\.")


def check_configuration_folders(arguments: Sequence[str]) -> None:
    """Read every file of the folders that a command line adds or takes in place of ours.

    They may configure pairs, data, objectives, trainings and our jobs; they may not tell Hydra what to do, which can
    start programs and write anywhere, nor choose the output folder or whom to trust: that is for the command line,
    and ``allow=[hydra,mine]``. Errors: :class:`~ppvae.UserError`, one line that names the file.
    """
    told = get_args(arguments)
    if told.experimental_rerun is not None:
        raise UserError("--experimental-rerun unpickles a file, which can do anything; give resume= or rerun= a run")
    overrides = list(_parsed(told.overrides))
    named = told.config_name or ""
    if Path(named).is_absolute() or ".." in Path(named).parts:
        raise UserError(f"--config-name {named}: expected the name of a file in our folder, or in --config-dir")
    folders = [Path(told.config_dir)] if told.config_dir else []
    beside = _local(told.config_path) if told.config_path else None
    folders += [OWN.parent / beside] if beside else []
    folders += [Path(where) for path in _values(overrides, "hydra.searchpath") if (where := _local(path))]
    given = _given(overrides)
    for folder in (folder for folder in folders if folder.resolve() != OWN.resolve()):
        for path in _files(folder):
            _check_file(path, path.relative_to(folder), given)


def check_composed(configuration: DictConfig) -> None:
    """UserError where references make a composed configuration grow without end, or lead back to themselves."""
    try:
        content: Any = OmegaConf.to_container(configuration, resolve=False)
        check_references(content, Given.by(configuration).strings)
    except ValueError as error:
        raise UserError(f"the configuration cannot be resolved: {one_line(error)}") from None


def _check_file(path: Path, inside: Path, given: Given) -> None:
    content, text = read_plain_yaml(path, empty=True)
    try:
        listed = list(_entries(content.get("defaults")))
        tells = "hydra" in content or inside.parts[0] == "hydra" or PACKAGE.search(text)
        if (tells or any("hydra" in re.split(r"[\s/@.:]", entry) for entry in listed)) and "hydra" not in given.allowed:
            raise ValueError("what Hydra does is for the command line to say; where you trust it, allow=[hydra]")
        if outside := [entry for entry in listed if ".." in entry]:
            raise ValueError(f"{outside[0]!r} in defaults leads out of the folder")
        if content.get("allow"):
            raise ValueError(f"whom to trust is for the command line to say: allow={content['allow']}")
        name = content.get("name")
        if content.get("resume") is not None or (name is not None and UNSAFE.search(str(name))):
            raise ValueError("the output folder is for the command line to say: resume=, or name= without / and $")
        plain = {key: value for key, value in content.items() if key != "hydra"}
        check_references(plain)
        from .trust import check_names  # and torch, seconds that a command line without such folders saves

        check_names(plain, given)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is no configuration to go by: {one_line(error)}") from None


def _files(folder: Path) -> Iterator[Path]:
    """Every file that Hydra may read there; links are followed, as it does, each folder once."""
    seen: set[tuple[int, int]] = set()
    count = 0
    for where, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in files:
            if name.endswith((".yaml", ".yml")):
                count += 1
                if count > MOST_FILES:
                    raise UserError(
                        f"{str(folder)!r} holds more than {MOST_FILES} YAML files; give a folder of its own"
                    )
                yield Path(where) / name
        if len(seen) > MOST_FILES:
            raise UserError(f"{str(folder)!r} holds more than {MOST_FILES} folders; give one of configurations alone")


def _entries(defaults: Any) -> Iterator[str]:
    """The entries of a defaults list, as text."""
    for entry in defaults if isinstance(defaults, list) else []:
        yield from (f"{key}: {value}" for key, value in entry.items()) if isinstance(entry, dict) else [str(entry)]


def _parsed(overrides: Sequence[str]) -> Iterator[Override]:
    for text in overrides:
        try:
            yield OverridesParser.create().parse_override(text)
        except HydraException:
            continue  # Hydra will say so


def _given(overrides: Sequence[Override]) -> Given:
    named = (
        entry for override in overrides for value in _plain(override) for entry in entries({_key(override): value})
    )
    return Given(frozenset(named), tuple(map(str, _values(overrides, "allow"))))


def _values(overrides: Sequence[Override], key: str) -> list[Any]:
    """What a key is given, one by one."""
    found = [value for override in overrides if _key(override) == key for value in _plain(override)]
    return [one for value in found for one in (value if isinstance(value, list) else [value])]


def _key(override: Override) -> str:
    return override.key_or_group


def _plain(override: Override) -> list[Any]:
    """An override's value; of a sweep, all that it names."""
    if not override.is_sweep_override():
        return [override.value()]
    return [str(value) for value in override.sweep_iterator()] if override.is_choice_sweep() else []


def _local(path: str) -> str | None:
    """Where a search path is on this machine; None for one in a package, which is installed and so trusted."""
    return None if str(path).startswith("pkg://") else str(path).removeprefix("file://")
