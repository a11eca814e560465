"""Time of a training step of hierarchies of latent maps, over the same network written by hand with one top-down pass.

``python -m experiments.benchmarks.hierarchy_time [--steps N] [--rounds R] [--groups 4 10 20] [--write PAGE.md]``

Model and guide are naive Pyro programs on one shared top-down network, with BatchNorm; what both compute is merged when
the step is captured.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from experiments.benchmarks.agreement import check_agreement
from experiments.benchmarks.candidates import LEARNING_RATE, UNCOMPILED, Candidate, hand_written, ours
from experiments.benchmarks.command import command, started
from experiments.benchmarks.hierarchies import HIERARCHIES, HierarchySetup
from experiments.benchmarks.step_time import Times, milliseconds, provenance, quartiles, verdict
from ppvae import BetaELBO
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Convolutions", "convolutions", "main"]

LIMIT = 1.0
CAPTURED, EAGER = "ours, captured", "ours, eager"


class Convolutions(NamedTuple):
    """How many stand in the captured graph, how many modules there are, and the seconds until the graph was checked."""

    recorded: int
    modules: int
    seconds: float


def convolutions(setup: HierarchySetup) -> Convolutions:
    """Capture the set-up's step and count."""
    step, images = Step(*setup.pair(), BetaELBO()).train(), setup.images()
    start = time.perf_counter()
    graph = capture(step.eager, images, torch.tensor(()), preserve=step).graph
    seconds = time.perf_counter() - start
    recorded = sum(node.op == "call_function" and ".conv" in str(node.target) for node in graph.nodes)
    return Convolutions(recorded, setup.convolutions(), seconds)


def rivals(setup: HierarchySetup, fabric: "Fabric") -> list[Candidate]:
    """All that compete, in the order of a round."""
    images = setup.images().to(fabric.device)
    by_ways = {way: ours(setup.pair(), BetaELBO(), images, fabric, way) for way in ("captured", "eager")}
    by_hand = hand_written(setup, "", images, compiled=False)
    return [
        Candidate(setup.title, CAPTURED, by_ways["captured"]),
        Candidate(setup.title, EAGER, by_ways["eager"]),
        Candidate(setup.title, UNCOMPILED, by_hand),
    ]


def row(title: str, times: Times, found: Convolutions) -> str:
    """One line of the page's table."""
    captured, eager, by_hand = (times[title, name] for name in (CAPTURED, EAGER, UNCOMPILED))
    cells = [f"{float(torch.tensor(one).median()):.1f}" for one in (by_hand, captured, eager)]
    ratios = [quartiles(one / by_hand) for one in (captured, eager)]
    counted = f"{found.recorded} of {found.modules}"
    return f"| {' | '.join([title, *cells, *ratios, counted, f'{found.seconds:.1f}'])} |"


HEAD = """\
| hierarchy | by hand, ms a step | captured, ms | eager, ms | captured over by hand: median (quartiles) | eager over \
by hand | convolutions recorded, of modules | capture, s |
|---|---:|---:|---:|---:|---:|---:|---:|"""

HOW = f"""\
Residual cells of two 3 × 3 convolutions with BatchNorm and SiLU, sites z_1 … z_L with dims of their own, the top-down
network shared by prior and guide, which are two programs; by hand it is passed once. Same batch, starting parameters
and fused Adam for all, learning rate {LEARNING_RATE:g}, so that every round times the same work. Nothing is compiled.
The candidates take turns round by round; a ratio is taken within a round. Capture is timed once, from the first
recording to the last comparison with the eager step in float64."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.hierarchy_time", __doc__, steps=3, rounds=15)
    parser.add_argument("--groups", nargs="+", type=int, choices=HIERARCHIES, default=list(HIERARCHIES))
    chosen, fabric, load = started(parser, arguments)
    page = written([HIERARCHIES[groups] for groups in chosen.groups], fabric, chosen.steps, chosen.rounds, load)
    print(page)
    if chosen.write:
        Path(chosen.write).write_text(page + "\n")


def written(setups: Sequence[HierarchySetup], fabric: "Fabric", steps: int, rounds: int, load: float) -> str:
    """The page: agreement is checked before anything is timed."""
    worst = max(check_agreement(setup, "") for setup in setups)
    rows, verdicts = [], []
    for setup in setups:
        found = convolutions(setup)
        times = milliseconds(rivals(setup, fabric), steps, rounds, fabric.device)
        rows.append(row(setup.title, times, found))
        pair = (setup.title, CAPTURED), (setup.title, UNCOMPILED)
        verdicts.append("- " + verdict(f"{setup.title}: captured over by hand", times, *pair, LIMIT))
        once = "held" if found.recorded == found.modules else "MISSED"
        verdicts.append(f"- {once}: {setup.title}: {found.recorded} convolutions recorded, {found.modules} modules")
    first = setups[0]
    note = (
        f"Images {first.image_shape}, batch {first.batch_size}, width {first.width}, {first.latents} latents a place; "
        f"{rounds} rounds of {steps} steps each. Same distortion, rate and gradients from the same parameters and "
        f"noise: largest relative difference {worst:.1g}."
    )
    facts = provenance("experiments.benchmarks.hierarchy_time", fabric, load)
    title = "# Time of a training step of hierarchies"
    return "\n\n".join([title, HOW, note, "\n".join([HEAD, *rows]), "\n".join(verdicts), facts])


if __name__ == "__main__":
    main()
