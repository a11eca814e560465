"""Command lines run one after another, each in a process forked from one that has imported everything."""

import contextlib
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "run_forked"]

MEMORY = 16 * 2**30  # bytes that a command line may claim; more would be the machine's end


@dataclass(frozen=True)
class Outcome:
    """What a command line did: exit code, None where it had to be stopped, what it said, and the files it left."""

    code: int | None
    out: str
    err: str
    left: frozenset[str]
    seconds: float


def run_forked(words: Sequence[str], cwd: Path, *, seconds: float = 120) -> Outcome:
    """Run ``python -m experiments WORDS`` in ``cwd``; beside it lie ``<cwd>.out`` and ``<cwd>.err``."""
    before, start = _files(cwd), time.monotonic()
    streams = [cwd.with_name(f"{cwd.name}.{end}") for end in ("out", "err")]
    child = os.fork()
    if child == 0:
        _become(words, cwd, streams)
    code = _wait(child, start + seconds)
    out, err = (path.read_text(errors="replace") for path in streams)
    return Outcome(code, out, err, frozenset(_files(cwd) - before), time.monotonic() - start)


def _become(words: Sequence[str], cwd: Path, streams: Sequence[Path]) -> None:
    """The command line, in a forked process, which ends here."""
    os.setpgid(0, 0)
    os.chdir(cwd)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.argv = ["experiments", *words]
    sys.modules.pop("experiments.__main__", None)
    code = 0
    try:
        runpy.run_module("experiments", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait(child: int, deadline: float) -> int | None:
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _files(cwd: Path) -> set[str]:
    return {str(path.relative_to(cwd)) for path in cwd.rglob("*")}
