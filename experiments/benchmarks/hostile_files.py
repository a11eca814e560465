"""Hostile configurations and data sets, each loaded in a process of its own under limits of time and memory.

``uv run -m experiments.benchmarks.hostile_files --write experiments/results/hostile_files.md``. What is wanted of each:
one line that names what is wrong, in seconds and in little memory; nothing run, nothing written.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from ppvae import UserError
from ppvae.files import replace_atomically
from ppvae.memory import readable_size

from ..provenance import as_markdown, environment
from ..resolvers import register_resolvers
from . import hostile_configurations, hostile_data

__all__ = ["KINDS", "Outcome", "main", "tried"]

PRELOADED = [hostile_configurations.__name__, hostile_data.__name__, "torchvision.datasets", "experiments.provenance"]
SECONDS = 20
BYTES = 2**31  # of address space, beyond what the process has when it begins


@dataclass(frozen=True)
class Kind:
    """Files of a kind by what is wrong with them, and what loads a folder that holds one."""

    make: dict[str, Callable[[Path], object]]
    load: Callable[[Path], object]


KINDS = {
    "configuration of a run": Kind(hostile_configurations.CONFIGURATIONS, hostile_configurations.load_run),
    "folder of configurations": Kind(hostile_configurations.FOLDERS, hostile_configurations.load_folder),
    "NumPy archive": Kind(hostile_data.ARCHIVES, hostile_data.load_archive),
    "folder of images": Kind(hostile_data.FOLDERS, hostile_data.load_folder),
    "MNIST, CelebA": Kind(hostile_data.PUBLISHED, hostile_data.load_published),
    "binarised MNIST": Kind(hostile_data.AMATS, hostile_data.load_amat),
}


@dataclass(frozen=True)
class Outcome:
    """How one file was met: what was said, or how it ended otherwise; seconds, and bytes beyond those at the start."""

    kind: str
    name: str
    said: str
    one_line: bool
    seconds: float
    taken: int


def main(arguments: Sequence[str] | None = None) -> list[Outcome]:
    """Try all, print each that did not end in one line, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.hostile_files", description=__doc__)
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    outcomes = [tried(kind, name) for kind, files in KINDS.items() for name in files.make]
    page = _page(outcomes)
    print(page)
    if chosen.write:
        replace_atomically(chosen.write, lambda path: path.write_text(page + "\n"))
    return outcomes


def tried(kind: str, name: str) -> Outcome:
    """Make one file in a temporary folder and load it in another process."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # once, for all processes
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "inside" / "data"
        inside.mkdir(parents=True)
        KINDS[kind].make[name](inside)
        before = _entries(folder)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_load, args=(kind, inside, sender))
        process.start()
        sender.close()
        answer = receiver.recv() if receiver.poll(SECONDS + 10) else None  # some for the first start
        if answer is None:
            process.kill()
        process.join()
        written = sorted(_entries(folder) - before)
    said, one_line, seconds, taken = answer or (f"killed after {SECONDS} s", False, float(SECONDS), 0)
    if written:
        said, one_line = f"wrote {', '.join(written)}", False
    return Outcome(kind, name, said.replace(str(inside), "…"), one_line, seconds, taken)


def _load(kind: str, folder: Path, sender: Connection) -> None:
    """Load under limits, and say how it went."""
    os.chdir(folder)
    register_resolvers()
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    before, began = _peak(), time.perf_counter()
    try:
        found = KINDS[kind].load(folder)
        said, one_line = f"accepted as {found!r}", False
    except UserError as error:
        said, one_line = str(error), "\n" not in str(error)
    except BaseException as error:  # a table tells of everything
        said, one_line = f"{type(error).__name__}: {error}", False
    sender.send((said, one_line, time.perf_counter() - began, _peak() - before))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak() -> int:
    """Bytes of memory at most so far, by Linux's count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _entries(folder: str) -> set[str]:
    """What is there, links not followed."""
    return {os.path.join(where, name) for where, folders, files in os.walk(folder) for name in folders + files}


def _page(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for kind in KINDS:
        here = [outcome for outcome in outcomes if outcome.kind == kind]
        fine = sum(outcome.one_line for outcome in here)
        slowest, most = max(outcome.seconds for outcome in here), max(outcome.taken for outcome in here)
        cells = [kind, len(here), fine, len(here) - fine, f"{slowest:.2f} s", readable_size(most)]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    lines = [
        "# Hostile files",
        "",
        f"Each is loaded in a process of its own that may take {SECONDS} s and {readable_size(BYTES)} more of address",
        "space than it begins with. Nothing was run and nothing written, or it counts as other.",
        "",
        "| kind | tried | one line | other | slowest | most memory |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        as_markdown(environment(0)),
        "",
        "## What was said",
        "",
        *(f"- {o.kind}, {o.name}: {'' if o.one_line else '**other** '}`{_shown(o.said)}`" for o in outcomes),
    ]
    return "\n".join(lines)


def _shown(said: str) -> str:
    line = " ".join(said.replace("`", "'").split())
    return line if len(line) <= 160 else f"{line[:159]}…"


if __name__ == "__main__":
    main()
