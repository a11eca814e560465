"""Time of a training step: ours, plain PyTorch, plain Pyro and pythae, side by side in one process.

``python -m experiments.benchmarks.step_time [--steps N] [--rounds R] [--setups mlp conv] [--write PAGE.md]``

The candidates take turns, a few steps each, round after round, so that the drift of a shared machine hits all alike.
Ratios are taken within a round, then their median over the rounds.
"""

import gc
import os
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric

from ..provenance import as_markdown, command_line, environment
from .agreement import check_agreement
from .candidates import (
    BASELINE,
    CAPTURED,
    LEARNING_RATE,
    OURS,
    UNCOMPILED,
    Candidate,
    candidates,
)
from .command import command, started
from .pythae_vae import INSTALL, pythae_version
from .setups import SETUPS, Setup

__all__ = [
    "WAYS",
    "Clock",
    "Times",
    "fastest",
    "main",
    "milliseconds",
    "over_fastest",
    "provenance",
    "quartiles",
    "table",
    "verdict",
    "verdicts",
]

LIMIT = 1.05  # ours over hand-written
NGVAE_LIMIT = 1.15  # NGVAE over VAE, both ours
WAYS = OURS, CAPTURED
Clock = Literal["wall", "cpu"]
type Times = dict[tuple[str, str], np.ndarray]  # (model, candidate) to milliseconds a step, one a round


def milliseconds(
    rivals: Sequence[Candidate], steps: int, rounds: int, device: torch.device, clock: Clock = "wall"
) -> Times:
    """Milliseconds a step of each candidate, (round,), after a warm-up of ``steps`` for each.

    ``clock``: "cpu" is the time that this process had a core, all threads added up: of one thread on a CPU that others
    use as well, it is what the step costs.
    """
    for rival in rivals:
        rival.run(steps)
    times: dict[tuple[str, str], list[float]] = {(rival.model, rival.name): [] for rival in rivals}
    for _ in range(rounds):
        for rival in rivals:
            times[rival.model, rival.name].append(1000 * _seconds(rival, steps, device, clock) / steps)
    return {key: np.array(row) for key, row in times.items()}


def _seconds(rival: Candidate, steps: int, device: torch.device, clock: Clock) -> float:
    now = time.process_time if clock == "cpu" else time.perf_counter
    gc.collect()  # nobody pays for another's garbage
    _wait(device)
    start = now()
    rival.run(steps)
    _wait(device)
    return now() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(times: Times) -> str:
    """Markdown: median, range and ratio to hand-written compiled PyTorch of the same model."""
    lines = [
        "| model | candidate | steps a second | ms a step: median (min-max) | ratio to hand-written, compiled: "
        "median (quartiles) |",
        "|---|---|---:|---:|---:|",
    ]
    for (model, name), row in times.items():
        median = np.median(row)
        baseline = times.get((model.partition(",")[0], BASELINE))
        ratio = "" if baseline is None else quartiles(row / baseline)
        spread = f"{median:.2f} ({row.min():.2f}-{row.max():.2f})"
        lines.append(f"| {model} | {name} | {1000 / median:.0f} | {spread} | {ratio} |")
    return "\n".join(lines)


def verdicts(times: Times) -> list[str]:
    """One line for each target: held or missed, with its number."""
    kinds = ("VAE", "NGVAE")
    compiled = [verdict(f"{k}: {OURS} over {BASELINE}", times, (k, OURS), (k, BASELINE), LIMIT) for k in kinds]
    pairs = [("NGVAE", OURS), ("VAE", OURS)], [fastest(times, kind, *WAYS) for kind in reversed(kinds)]
    titles = OURS, "each as `fit` runs it"
    compared = zip(titles, pairs, strict=True)
    between = [verdict(f"NGVAE over VAE, {t}", times, one, other, NGVAE_LIMIT) for t, (one, other) in compared]
    return [*(over_fastest(times, kind) for kind in kinds), *compiled, *between]


def over_fastest(times: Times, model: str) -> str:
    """A model's verdict: ours as ``fit`` runs it over the fastest form written by hand."""
    ours, hand = fastest(times, model, *WAYS), fastest(times, model, BASELINE, UNCOMPILED)
    title = f"{model}: {ours[1]}, as `fit` runs it, over the fastest by hand ({hand[1]})"
    return verdict(title, times, ours, hand, LIMIT)


def fastest(times: Times, model: str, *names: str) -> tuple[str, str]:
    """The candidate of the least median; among captured and compiled the one that ``fit`` chooses."""
    return min(((model, name) for name in names), key=lambda key: np.median(times[key]))


def verdict(title: str, times: Times, ours: tuple[str, str], other: tuple[str, str], limit: float) -> str:
    """Whether the median of the ratios within rounds, (model, candidate) over (model, candidate), is within a limit."""
    ratio = times[ours] / times[other]
    return f"{'held' if np.median(ratio) <= limit else 'MISSED'}: {title}: {quartiles(ratio)}, target ≤ {limit}"


def quartiles(ratio: np.ndarray) -> str:
    """Median (quartiles) over the rounds."""
    low, median, high = np.percentile(ratio, [25, 50, 75])
    return f"{median:.3f} ({low:.3f}-{high:.3f})"


def section(setup: Setup, fabric: Fabric, steps: int, rounds: int) -> str:
    """One set-up's heading, agreement, table and verdicts."""
    torch._dynamo.reset()  # no guards of another set-up's graphs
    pythae = pythae_version() is not None
    worst = max(check_agreement(setup, kind, pythae=pythae) for kind in ("VAE", "NGVAE"))
    steps = max(1, round(steps * setup.share))
    times = milliseconds(list(candidates(setup, fabric)), steps, rounds, fabric.device)
    notes = [
        f"{rounds} rounds of {steps} steps each. Same distortion, rate and gradients from the same parameters and "
        f"noise: largest relative difference {worst:.1g}.",
        *([] if pythae else ["pythae: not installed"]),
    ]
    lines = [f"- {verdict}" for verdict in verdicts(times)]
    return "\n\n".join([f"## {setup.title}", *notes, table(times), "\n".join(lines)])


def provenance(module: str, fabric: Fabric, load: float, **versions: str) -> str:
    """Command, versions and machine of a benchmark; ``load``: the load average before it."""
    facts = {
        "command": f"`{command_line(module)}`",
        **environment(seed=0),
        **versions,
        "device": str(fabric.device),
        "threads": str(torch.get_num_threads()),
        "load average before and after": f"{load:.2f}, {os.getloadavg()[0]:.2f}",
    }
    return as_markdown(facts)


HOW = f"""\
Same networks, batch and starting parameters for all; fused Adam for all but plain Pyro SVI, which uses
`pyro.optim.Adam` and `Trace_ELBO`. The learning rate is {LEARNING_RATE:g}, so that every round times the same work.
Ours runs the training loop's own path on one device, the measurements of the history added up.
The candidates take turns round by round; a ratio is taken within a round. g-rep is compared with the hand-written
implicit NGVAE. pythae is timed as its trainer steps, on its VAE with our networks; for real-valued pixels it has a
unit-variance normal only. It is no dependency; beside the project's own packages: `{INSTALL}`, then
`PYTHONPATH=.pythae`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.step_time", __doc__, steps=50, rounds=20)
    parser.add_argument("--setups", nargs="+", choices=SETUPS, default=list(SETUPS))
    chosen, fabric, load = started(parser, arguments)
    sections = []
    for name in chosen.setups:
        sections.append(section(SETUPS[name], fabric, chosen.steps, chosen.rounds))
        print(sections[-1], end="\n\n", flush=True)
    facts = provenance("experiments.benchmarks.step_time", fabric, load, pythae=pythae_version() or "not installed")
    print(facts)
    if chosen.write:
        chosen.write.write_text("\n\n".join(["# Time of a training step", HOW, *sections, facts]) + "\n")


if __name__ == "__main__":
    main()
