"""A member of a sweep or a study: one run of many, which ends in an outcome and never in an exception."""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal, cast

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from ppvae.errors import one_line
from ppvae.files import locked, replace_atomically

from .endings import line_of
from .own_names import named
from .resolvers import register_resolvers

__all__ = ["Outcome", "attempt", "metrics_of", "outcome_of", "say_what_is_left"]

FILE = "outcome.json"
OUTPUT = "output.log"
PRELOADED = [f"{__package__}.jobs.single", "ppvae.svi.loop", "torch._dynamo", "dask.array", "torch.utils.tensorboard"]


@dataclass(frozen=True)
class Outcome:
    """What became of a member: ``state``, the one line of its error, and the seconds of its last attempt.

    ``interrupted``: it began and nobody knows how it ended; ``missing``: it never began.
    """

    state: Literal["done", "failed", "interrupted", "missing"]
    error: str = ""
    seconds: float = 0.0

    def said(self) -> str:
        """The outcome in one line."""
        return f"{self.state} in {self.seconds:.0f} s" + (f": {self.error}" if self.error else "")


def outcome_of(directory: Path) -> Outcome:
    """What the member in ``directory`` left there."""
    try:
        return Outcome(**json.loads((directory / FILE).read_text()))
    except FileNotFoundError:
        return Outcome("missing")
    except (ValueError, TypeError, OSError) as error:
        return Outcome("interrupted", f"{directory / FILE} is damaged: {one_line(error)}")


def metrics_of(directory: Path) -> dict[str, Any]:
    """The numbers that a member's job wrote; none where it wrote none."""
    path = directory / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def attempt(work: str, configuration: DictConfig, directory: Path) -> Outcome:
    """Call ``work``, a function's name, with configuration and directory in a process of its own; returns the outcome.

    What it prints goes to ``output.log``. Whatever ends that process, a signal too, is the member's failure and nobody
    else's. Under ``launcher=basic`` the work is done in this process, where a debugger sees it.
    """
    began = time.perf_counter()
    _keep(directory, Outcome("interrupted", "it was ended before it could say why"))
    if HydraConfig.get().runtime.choices.get("hydra/launcher") == "basic":
        _keep(directory, _outcome(work, configuration, directory))
    else:
        _in_its_own_process(work, configuration, directory)
    outcome = Outcome(**(asdict(outcome_of(directory)) | {"seconds": round(time.perf_counter() - began, 3)}))
    _keep(directory, outcome)
    return outcome


def say_what_is_left(left: Mapping[str, Outcome], count: int, directory: Path, failure: str | None) -> str:
    """Print a line of each member that is not done; returns the one line of them all.

    left: their outcomes by name, of ``count`` members in all; failure: the line of what ended the launcher, if any.
    """
    for name, outcome in left.items():
        print(f"{name}: {outcome.state}{f', {outcome.error}' if outcome.error else ''}")
    counts = Counter(outcome.state for outcome in left.values())
    states = ", ".join(f"{number} {state}" for state, number in counts.items())
    return (
        f"{len(left)} of {count} runs are not done: {failure or states}; "
        f"the same command with resume={directory} tries these alone"
    )


def _in_its_own_process(work: str, configuration: DictConfig, directory: Path) -> None:
    """Forked from a server without threads that has imported what runs need, once for all members of a worker."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    state = cloudpickle.dumps(Singleton.get_state())
    process = context.Process(target=_alone, args=(work, OmegaConf.to_yaml(configuration), directory, state))
    process.start()
    process.join()
    if process.exitcode and outcome_of(directory).state == "interrupted":
        _keep(directory, Outcome("failed", f"its process was ended by {_ender(process.exitcode)}"))


def _end_with_parent() -> None:
    """Ask this process to end when the worker has died that waits for it: another may begin the same member."""
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _alone(work: str, configuration: str, directory: Path, state: bytes) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    Singleton.set_state(cloudpickle.loads(state))
    register_resolvers()
    output = os.open(directory / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(output, stream.fileno())
    configure_log(cast(DictConfig, HydraConfig.get().job_logging), HydraConfig.get().verbose)
    _keep(directory, _outcome(work, cast(DictConfig, OmegaConf.create(configuration)), directory))


def _outcome(work: str, configuration: DictConfig, directory: Path) -> Outcome:
    try:
        with locked(directory):
            named(work)(configuration, directory)
    except Exception as error:
        return Outcome("failed", _line(error))
    return Outcome("done")


def _line(error: Exception) -> str:
    """A user's mistake in its own words; any other error by its name, its traceback among the member's output."""
    said = line_of(error)
    if said is None:
        traceback.print_exception(error)
    return said or f"{type(error).__name__}: {one_line(error)}"


def _ender(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _keep(directory: Path, outcome: Outcome) -> None:
    replace_atomically(directory / FILE, lambda path: path.write_text(json.dumps(asdict(outcome))))
