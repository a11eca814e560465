"""The folder of a run: made for it alone, or that of the run it continues; locked while it writes."""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ppvae.errors import Interrupted, UserError
from ppvae.files import claimed, explained, locked

from .endings import ended_in_one_line
from .launched import another

__all__ = [
    "RunFolder",
    "as_path",
    "check_name",
    "check_run",
    "runs_below",
    "said_of",
    "told_what_is_left",
    "withdrawn_after_a_mistake",
]

MADE_BY_A_RUN = ("run.json", "config.yaml", "checkpoint.pt", "hydra/config.yaml")
LISTED = 3  # runs that a line names
EMPTY = {".hydra", "hydra", "experiments.log", "run.json", ".lock"}  # what is there before anything is trained

_entered = ExitStack()  # the folder's lock: this process's until it ends
atexit.register(_entered.close)
_fresh: dict[Path, list[Path]] = {}  # folders that this process made → the folders above that it made as well


class RunFolder(Callback):
    """Hydra's callback: settles ``hydra.run.dir`` before Hydra writes into it.

    A new run has a folder that no other has, with a suffix where its name is taken; ``resume`` goes on in the folder
    of a run, in which nothing is changed before it is known to be one; a folder that is named must be empty.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with ended_in_one_line():  # Hydra would make a warning of an error
            HydraConfig.instance().set_config(config)
            directory = _settled(config)
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.run.dir = str(directory).replace("${", r"\${")


def check_run(key: str, value: Any) -> Path:
    """The folder of a run that ``key`` names; UserError where it is none. Changes nothing.

    ``~`` is a folder of this name or, where there is none, the user's home.
    """
    directory = as_path(key, value)
    if not directory.exists() and str(directory).startswith("~"):
        directory = directory.expanduser()
    if not directory.is_dir():
        kind = "is a file" if directory.exists() else "does not exist"
        raise UserError(f"{key}={value}: {directory} {kind}; give the folder of a run, runs/NAME/TIME")
    if not any((directory / name).is_file() for name in MADE_BY_A_RUN):
        reason = said_of(runs_below(directory)) or "which has no config.yaml or checkpoint.pt"
        raise UserError(f"{key}={value}: no run was made in this folder, {reason}")
    return directory


def runs_below(directory: Path) -> list[Path]:
    """The folders of runs in a folder such as ``runs/NAME``, or in those in it; the last made comes last."""
    found = {path.parent for depth in ("*", "*/*") for path in directory.glob(f"{depth}/config.yaml")}
    return sorted((path for path in found if path.name != "hydra"), key=lambda path: (path.name, path))


def said_of(runs: Sequence[Path]) -> str:
    """Which of these runs may be meant; nothing where there is none."""
    if not runs:
        return ""
    last = ", ".join(map(str, runs[: -LISTED - 1 : -1]))
    return f"but {len(runs)} below it: give one of them, {last}{', …' if len(runs) > LISTED else ''}"


def as_path(key: str, value: Any) -> Path:
    """A path that the command line names."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UserError(f"{key}={value!r}: expected a folder; a name that is a number is written ./3")
    return Path(value)


def check_name(value: Any) -> None:
    """UserError unless a run's name is a word that a folder below runs can have."""
    if value is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"name={value!r}: expected a word; a number is one in quotes, name='\"3\"'")
    if value.startswith("/") or {".", ".."} & set(re.split(r"[/\\]", value)) or "\0" in value:
        raise UserError(f"name={value}: expected a folder below runs; hydra.run.dir=FOLDER names any other")


def _settled(config: DictConfig) -> Path:
    """The run's folder, made, and locked for this process."""
    check_name(config.get("name"))
    resume, named = config.get("resume"), _named(config)
    if another():
        return Path(resume) if resume else _thrown_away()
    if resume is not None:
        directory = check_run("resume", resume)
        if named and Path(named).resolve() != directory.resolve():
            raise UserError(f"resume={resume} goes on in its own folder; leave hydra.run.dir={named} out")
    else:
        directory = _new(Path(named) if named else Path(OmegaConf.select(config, "hydra.run.dir")), exact=bool(named))
    _entered.enter_context(locked(directory))
    return directory


def _named(config: DictConfig) -> str | None:
    """The folder that the command line names itself."""
    given = [word.split("=")[0].lstrip("+") for word in config.hydra.overrides.hydra]
    if "hydra.run.dir" not in given:
        return None
    return str(as_path("hydra.run.dir", OmegaConf.select(config, "hydra.run.dir")))


def _new(directory: Path, *, exact: bool) -> Path:
    above = [parent for parent in directory.parents if not parent.exists()]
    with explained(directory):
        if exact and directory.is_dir():
            if {path.name for path in directory.iterdir()} - EMPTY:  # what a kill before the training leaves is nothing
                raise UserError(f"{directory} holds files; resume={directory} continues a run, or give another folder")
            return directory
        try:
            made = claimed(directory)
        except BaseException:
            _remove_empty(above)
            raise
    if exact and made != directory:
        shutil.rmtree(made)
        raise UserError(f"{directory} is a file or was made by another run just now; give another folder")
    _fresh[made.resolve()] = above
    return made


def _thrown_away() -> Path:
    """Where the other processes of a run may write what only the first keeps."""
    return Path(_entered.enter_context(tempfile.TemporaryDirectory(prefix="ppvae_rank_")))


@contextmanager
def withdrawn_after_a_mistake(directory: Path) -> Iterator[None]:
    """Take away the folder that was made for a run which failed before anything was trained in it."""
    try:
        yield
    except BaseException:
        _withdraw(directory)
        raise


def _withdraw(directory: Path) -> None:
    """Remove a folder of this run's own that holds nothing yet, and those above it that were made with it."""
    own = directory.resolve()
    if own not in _fresh or {path.name for path in own.iterdir()} - EMPTY:
        return
    shutil.rmtree(own, ignore_errors=True)
    _remove_empty(_fresh.pop(own))


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # another run may be in it
            folder.rmdir()


@contextmanager
def told_what_is_left(directory: Path) -> Iterator[None]:
    """Say what a signal leaves behind, where the training has not said it."""
    try:
        yield
    except KeyboardInterrupt as signal:
        code = signal.code if isinstance(signal, Interrupted) else 130
        if str(signal) not in ("", "interrupted"):
            raise
        if not directory.is_dir():
            raise Interrupted("interrupted before the training; nothing is left", code) from None
        where = os.path.relpath(directory)
        raise Interrupted(f"interrupted; resume={where} goes on with what is there", code) from None
