"""Images a second of one process and of several, one thread each, with as many images a step for each process.

``python -m experiments.benchmarks.processes [--processes N] [--steps N] [--rounds R] [--setup conv] [--write FOLDER]``

One, several, and as many trainings that share nothing take turns, so that the drift of a shared machine hits all.
The second table is computed, not measured:
from the bytes that a ring sends and from assumed bandwidths and step times.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ppvae import fit
from ppvae.files import replace_atomically

from ..provenance import as_markdown, command_line, environment
from .setups import SETUPS, Setup

__all__ = ["MACHINES", "Machine", "computed", "efficiency", "main", "measured", "sent"]

MODULE = "experiments.benchmarks.processes"
WANTED = 0.85
APART = "apart"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """GPUs of a ring whose slowest link has ``bandwidth`` bytes/s and ``latency`` s; a step takes ``step`` s alone."""

    title: str
    gpus: int
    bandwidth: float
    latency: float
    step: float


MACHINES = [
    Machine(title=f"{gpus} GPUs, {where}, step of {1000 * step:g} ms", gpus=gpus, step=step, **link)
    for gpus, where, link in (
        (8, "one machine: 200 GB/s, 5 µs a hop", {"bandwidth": 200e9, "latency": 5e-6}),
        (64, "eight machines: 25 GB/s, 15 µs a hop", {"bandwidth": 25e9, "latency": 15e-6}),
    )
    for step in (3e-3, 30e-3)
]


def sent(gradient: int, processes: int) -> float:
    """Bytes that each of ``processes`` sends a step: a ring's all-reduce of ``gradient`` bytes."""
    return 2 * (processes - 1) / processes * gradient


def computed(gradient: int, machine: Machine) -> float:
    """The efficiency where nothing is sent while gradients are computed, the worst case."""
    hops = 2 * (machine.gpus - 1)
    return machine.step / (machine.step + sent(gradient, machine.gpus) / machine.bandwidth + hops * machine.latency)


def measured(setup: Setup, processes: int, steps: int, rounds: int) -> pd.DataFrame:
    """Images a second, a row a round, of 1 and of ``processes``, and ``apart``, of as many trainings at one time that
    share nothing but the machine; the first epoch of each training warms up."""
    rows = []
    for _ in range(rounds):
        speeds: dict[int | str, float] = {n: _speed(setup, n, steps) for n in (1, processes)}
        rows.append({**speeds, APART: _apart(setup, processes, steps)})
    return pd.DataFrame(rows)


def efficiency(speeds: pd.DataFrame) -> pd.Series:
    """By round, the speed of several over so many times that of one."""
    one, several, _ = speeds.columns
    return speeds[several] / (several * speeds[one])


def _apart(setup: Setup, processes: int, steps: int) -> float:
    with get_context("spawn").Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return sum(pool.starmap(_speed, [(setup, 1, steps)] * processes))


def _speed(setup: Setup, processes: int, steps: int) -> float:
    batch = processes * setup.batch_size
    images = (255 * setup.images()).byte().repeat(processes * steps, 1, 1, 1)
    model, guide = setup.pair("NGVAE")
    options: dict[str, Any] = {"execution": "captured", "accelerator": "cpu", "progress": False, "learning_rate": 1e-6}
    history = fit(model, guide, images, epochs=4, batch_size=batch, devices=processes, **options)
    return float(history["images_per_second"][1:].median())


def page(setup: Setup, speeds: pd.DataFrame) -> str:
    """Both tables as Markdown."""
    (_, processes, _), shares = speeds.columns, efficiency(speeds)
    together = speeds[processes] / speeds[APART]
    gradient = sum(4 * p.numel() for part in setup.pair("NGVAE") for p in part.parameters())
    verdict = "held" if shares.median() >= WANTED else "MISSED"
    titles = {1: "1", processes: f"{processes}", APART: f"{processes} trainings that share nothing"}
    rows = [f"| {titles[n]} | {of.median():.0f} ({of.min():.0f}-{of.max():.0f}) |" for n, of in speeds.items()]
    paper = [f"| {m.title} | {sent(gradient, m.gpus) / 1e6:.2f} | {computed(gradient, m):.0%} |" for m in MACHINES]
    return "\n".join(
        [
            "# Several processes",
            "",
            f"NGVAE, {setup.title} (of each process), one thread a process, captured steps.",
            "",
            "| processes | images a second: median (min-max) |",
            "|---:|---:|",
            *rows,
            "",
            f"- {verdict}: efficiency {shares.median():.3f} ({shares.min():.3f}-{shares.max():.3f}), wanted ≥ {WANTED}",
            f"- of as many trainings that share nothing: {together.median():.3f} ({together.min():.3f}-"
            f"{together.max():.3f}); the rest is what the machine loses",
            f"- gradient {gradient / 1e6:.2f} MB; each process sends {sent(gradient, processes) / 1e6:.2f} MB a step",
            "",
            "## On paper: computed, not measured",
            "",
            "A ring's all-reduce of the gradient, 2(n − 1)/n of its bytes and 2(n − 1) hops, with nothing sent while "
            "gradients are computed (the worst case). Bandwidths, latencies and step times are assumptions.",
            "",
            "| machine | MB a GPU sends a step | efficiency |",
            "|---|---:|---:|",
            *paper,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="steps an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--setup", choices=SETUPS, default="conv")
    parser.add_argument("--write", type=Path, help="also write processes.md and processes.csv into this folder")
    chosen = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    speeds = measured(SETUPS[chosen.setup], chosen.processes, chosen.steps, chosen.rounds)
    facts = environment(seed=0) | {"load average before": f"{load:.2f}", "command": f"`{command_line(MODULE)}`"}
    text = f"{page(SETUPS[chosen.setup], speeds)}\n\n{as_markdown(facts)}\n"
    print(text)
    if chosen.write:
        replace_atomically(chosen.write / "processes.md", lambda path: path.write_text(text))
        replace_atomically(chosen.write / "processes.csv", lambda path: speeds.to_csv(path, index_label="round"))


if __name__ == "__main__":
    main()
