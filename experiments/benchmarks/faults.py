"""Kills and flipped bits: does a run come back with its numbers, and is damage noticed?

``python -m experiments.benchmarks.faults [--kills N] [--bits N] [--workers W] [--write PAGE.md]``

A run of the main job, small, is killed by SIGKILL at N moments drawn evenly over the time that it takes, then resumed;
its history and metrics must be those of the run that nobody killed, to the last bit. Then bits of its checkpoint and of
its posterior are flipped, one at a time: each must be refused in one line that names the file, or change no value.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ppvae import UserError, read_posterior
from ppvae.svi.checkpoints import load_checkpoint

from ..provenance import as_markdown, command_line, environment

__all__ = ["main"]

RUN = (
    *("data.size=1024", "data.image_size=32", "network=mlp", "recipe=cosine", "recipe.warmup=5", "trainer.epochs=12"),
    *("trainer.save_steps=5", "trainer.progress=false", "trainer.stopping=null", "trainer.execution=captured"),
    *("posterior.images=256", "diagnosis.images=20", "diagnosis.draws=20", "diagnosis.simulations=40"),
)
TIMES = {"seconds", "images_per_second"}  # of the machine, not of the run
STAGES = {  # what is there says how far a run was
    "the report": "metrics.json",
    "the export": "history.zarr",
    "a later epoch": "history.csv",
    "the first epoch": "checkpoint.pt",
    "before the first step": "config.yaml",
}


def run(*arguments: str) -> subprocess.Popen:
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = [sys.executable, "-m", "experiments", *RUN, *arguments]
    return subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True, **options)


def numbers(directory: Path) -> dict[str, Any]:
    """A finished run's history and metrics, without what the machine's speed says."""
    header, *rows = (line.split(",") for line in (directory / "history.csv").read_text().splitlines())
    history = {name: column for name, column in zip(header, zip(*rows, strict=True), strict=True) if name not in TIMES}
    metrics = json.loads((directory / "metrics.json").read_text())
    return {**history, **{name: value for name, value in metrics.items() if name not in TIMES}}


def stage(directory: Path) -> str:
    return next((name for name, file in STAGES.items() if (directory / file).exists()), "before the folder has a run")


def killed(directory: Path, after: float) -> tuple[str, str, str]:
    """Kill a run ``after`` so many seconds and take it up again: the stage, the outcome, and what was said."""
    process = run(f"hydra.run.dir={directory}")
    try:
        process.communicate(timeout=after)
        return "after its end", "ended before the kill", ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    hit = stage(directory)
    again = run(f"resume={directory}") if hit != "before the folder has a run" else run(f"hydra.run.dir={directory}")
    _, said = again.communicate()
    if again.returncode:
        return hit, "not resumed", said.strip().splitlines()[-1]
    left = [path.name for path in directory.rglob("*") if path.name.endswith((".partial", ".aside"))]
    return hit, f"left {left[0]}" if left else "the same", ""


def kills(count: int, workers: int, folder: Path, seed: int) -> tuple[Counter, list[str]]:
    """Outcomes by stage, and whatever was said where one is wrong."""
    start = time.perf_counter()
    whole = run(f"hydra.run.dir={folder / 'whole'}")
    _, said = whole.communicate()
    if whole.returncode:
        raise SystemExit(said)
    wanted, duration = numbers(folder / "whole"), time.perf_counter() - start
    moments = np.random.default_rng(seed).uniform(0.1, 1.0, count) * duration * (1 + 0.15 * (workers - 1))
    found: Counter = Counter()
    wrong = []

    def one(index: int) -> None:
        where = folder / f"run{index}"
        hit, outcome, line = killed(where, moments[index])
        if outcome in ("the same", "ended before the kill") and numbers(where) != wanted:
            other = [name for name, value in wanted.items() if numbers(where).get(name) != value]
            outcome, line = "other numbers", f"{', '.join(other[:3])} differ"
        found[hit, outcome] += 1
        if outcome not in ("the same", "ended before the kill"):
            wrong.append(f"{hit}, {outcome}: {line}")
        print(f"{index}: killed after {moments[index]:.1f} s, {hit}: {outcome} {line}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(count)))
    return found, wrong


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.numpy().tobytes(), tuple(value.shape)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else repr(value)


def _values(store: Path) -> dict[str, bytes]:
    tree = read_posterior(store, verify=True)
    return {f"{g.path}/{n}": v.values.tobytes() for g in tree.subtree for n, v in g.to_dataset().variables.items()}


def bits(count: int, folder: Path, seed: int) -> dict[str, Counter]:
    """Outcomes of single flipped bits, half in the checkpoint and half in the posterior."""
    drawn, outcomes = random.Random(seed), dict[str, Counter]()
    checkpoint, store = folder / "checkpoint.pt", folder / "posterior.zarr"
    files = [path for path in store.rglob("*") if path.is_file() and path.stat().st_size]
    sizes = [path.stat().st_size for path in files]
    for name, load, choose in (
        ("checkpoint.pt", lambda: _plain(load_checkpoint(checkpoint)), lambda: checkpoint),
        ("posterior.zarr", lambda: _values(store), lambda: drawn.choices(files, sizes)[0]),
    ):
        whole, outcomes[name] = load(), Counter()
        for _ in range(count // 2):
            path = choose()
            content = path.read_bytes()
            bit = drawn.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            outcomes[name][_outcome(load, whole, str(folder))] += 1
            path.write_bytes(content)
    return outcomes


def _outcome(load, whole: Any, folder: str) -> str:
    try:
        found = load()
    except UserError as error:
        named = folder in str(error) and "\n" not in str(error)
        return "refused in one line that names it" if named else f"refused, not well said: {error}"
    except Exception as error:
        return f"traceback: {type(error).__name__}"
    return "harmless: every value as it was" if found == whole else "OTHER VALUES, silently"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--bits", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp())
    try:
        found, wrong = kills(chosen.kills, chosen.workers, folder, chosen.seed)
        flipped = bits(chosen.bits, folder / "whole", chosen.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts = {"command": f"`{command_line('experiments.benchmarks.faults')}`", **environment(chosen.seed)}
    rows = [f"| {hit} | {outcome} | {count} |" for (hit, outcome), count in sorted(found.items())]
    damage = [f"| {name} | {outcome} | {n} |" for name, counts in flipped.items() for outcome, n in counts.items()]
    page = "\n".join(
        [
            "# Kills and flipped bits",
            "",
            as_markdown(facts),
            "",
            f"{chosen.kills} runs of `{' '.join(RUN)}`, killed by SIGKILL at a random moment and resumed: "
            "the whole history and all metrics, compared to the last bit with those of a run that nobody killed.",
            "",
            *("| killed in | numbers after the resume | runs |", "|---|---|---:|", *rows, ""),
            *(f"- {line}" for line in wrong),
            f"{chosen.bits} single bits, flipped one at a time.",
            "",
            *("| file | outcome | bits |", "|---|---|---:|", *damage, ""),
        ]
    )
    print(page)
    if chosen.write:
        chosen.write.write_text(page)


if __name__ == "__main__":
    main()
