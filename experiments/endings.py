"""How a command line ends: what a user can mend, and a signal, in one line and an exit code, without a traceback."""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ppvae.errors import Interrupted, UserError, one_line
from ppvae.files import explained
from ppvae.memory import is_out_of_memory

from .launched import silent
from .signals import ignore_signals

__all__ = ["EXIT_USER_ERROR", "ended_in_one_line", "line_of", "said_in_one_line"]

EXIT_USER_ERROR = 2
TRACEBACK = "PPVAE_TRACEBACK"  # set to 1: where an error of a user's own class was raised
NOT_WRITTEN = ("PytorchStreamWriter failed", "inline_container")  # torch's words for a disk that is full


@contextmanager
def ended_in_one_line() -> Iterator[None]:
    """End the process in one line: exit code 2 for a mistake, 130 or 143 after a signal.

    An error of the program's own keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt as signal:
        ignore_signals()
        if not silent(signal):
            print(str(signal) or "interrupted", file=sys.stderr)
        sys.exit(signal.code if isinstance(signal, Interrupted) else 130)
    except Exception as error:
        line = None if os.environ.get(TRACEBACK) == "1" else line_of(error)
        if line is None:
            raise
        if not silent(error):
            print(f"error: {line}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


@contextmanager
def said_in_one_line(what: str) -> Iterator[None]:
    """Any error, before a training, as a user's: ``what`` fails, the error, and where it came from."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(line_of(error) or f"{what}: {_placed(error)}") from error


def _placed(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = ([frame for frame in frames if "site-packages" not in frame.filename] or frames)[-1]
    reason = (str(error).strip() or "no more is said").splitlines()[0]
    return f"{type(error).__name__} in {place.name}, {Path(place.filename).name}:{place.lineno}: {reason[:200]}"


def line_of(error: Exception) -> str | None:
    """What to say about an error that a user can mend, in one line; None for one of the program's own."""
    if type(error).__name__ == "InstantiationException":
        return _of_a_part(error)
    if isinstance(error, UserError) or type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return one_line(UserError(_without_hydras_advice(str(error))), most=390)
    if is_out_of_memory(error):
        return (
            f"out of memory ({one_line(error, most=120)}); lower trainer.batch_size, posterior.batch_size, data.size, "
            "or the network's width"
        )
    if isinstance(error, RuntimeError) and _says(error, NOT_WRITTEN):
        return f"a file could not be written, the disk may be full: {one_line(error, most=200)}"
    if isinstance(error, OSError):
        return _of_the_system(error)
    return one_line(error) if isinstance(error, ImportError) else None


def _of_a_part(error: Exception) -> str:
    """What the innermost of Hydra's errors about a part is about: the key, what it names, and why it failed."""
    key, target, inner = "", "", error
    while type(inner).__name__ == "InstantiationException":
        key = _found(r"full_key: (\S+)", inner) or key
        target = _found(r"target '([^']*)'", inner) or target
        if not isinstance(inner.__cause__, Exception):
            break
        inner = inner.__cause__
    mended = None if inner is error else line_of(inner)
    if isinstance(inner, UserError) and mended:
        return mended
    reason = mended or one_line(inner)
    reason = reason if type(inner).__name__ == "InstantiationException" else f"{type(inner).__name__}: {reason}"
    about = f"{key}: {target}" if key and target else key or target
    reason = re.sub(r",? ?set env var HYDRA_FULL_ERROR=1 to see chained exception\.?|\s*full_key: \S+", "", reason)
    return f"{about}: {reason}" if about else reason


def _found(pattern: str, error: Exception) -> str | None:
    found = re.search(pattern, str(error))
    return found[1] if found else None


def _of_the_system(error: OSError) -> str:
    path = Path(str(error.filename)) if error.filename else None
    try:
        with explained(path or Path("a file")):
            raise error
    except UserError as said:
        return str(said)
    except OSError:
        return f"{path}: {error.strerror}" if path else one_line(error)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    return any(word.lower() in str(error).lower() for word in words)


def _without_hydras_advice(said: str) -> str:
    said = said.split("Config search path:")[0]
    return re.sub(r"\n?To append to your config use \S+|\s*object_type=\S+|\s*reference_type=\S+", "", said)
