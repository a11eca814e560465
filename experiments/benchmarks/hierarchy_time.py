"""Time of a training step of hierarchies of latent maps, over the same network written by hand with one top-down pass.

``python -m experiments.benchmarks.hierarchy_time [--steps N] [--rounds R] [--groups 5 15 30] [--write PAGE.md]``

Model and guide are naive Pyro programs on one shared top-down network, with BatchNorm; what both compute is merged when
the step is captured.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, get_args

import torch
from torch import nn

from ppvae import BetaELBO
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

from .agreement import check_agreement
from .candidates import LEARNING_RATE, UNCOMPILED, Candidate, hand_written, ours
from .command import command, started
from .hierarchies import HIERARCHIES, HierarchySetup
from .step_time import Clock, Times, milliseconds, provenance, quartiles, verdict

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Layers", "layers", "main"]

LIMIT, EAGER_LIMIT, SECONDS = 1.0, 1.5, 60.0
CAPTURED, EAGER = "ours, captured", "ours, eager"


class Layers(NamedTuple):
    """Convolutions and norms: how many stand in the captured graph, how many modules there are, and the seconds until
    the graph was checked."""

    recorded: tuple[int, int]
    modules: tuple[int, int]
    seconds: float

    @property
    def text(self) -> str:
        return " and ".join(f"{found} of {wanted}" for found, wanted in zip(self.recorded, self.modules, strict=True))


def layers(setup: HierarchySetup) -> Layers:
    """Capture the set-up's step and count."""
    step, images = Step(*setup.pair(), BetaELBO()).train(), setup.images()
    start = time.perf_counter()
    graph = capture(step.eager, images, torch.tensor(()), preserve=step).graph
    seconds = time.perf_counter() - start
    called = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    convolutions, norms = (sum(name in target for target in called) for name in (".conv", ".batch_norm"))
    return Layers((convolutions, norms), (setup.modules(nn.Conv2d), setup.modules(nn.BatchNorm2d)), seconds)


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


def row(title: str, times: Times, found: Layers) -> str:
    """One line of the page's table."""
    captured, eager, by_hand = (times[title, name] for name in (CAPTURED, EAGER, UNCOMPILED))
    cells = [f"{float(torch.tensor(one).median()):.1f}" for one in (by_hand, captured, eager)]
    ratios = [quartiles(one / by_hand) for one in (captured, eager)]
    return f"| {' | '.join([title, *cells, *ratios, found.text, f'{found.seconds:.1f}'])} |"


HEAD = """\
| hierarchy | by hand, ms a step | captured, ms | eager, ms | captured over by hand: median (quartiles) | eager over \
by hand | convolutions and norms recorded, of modules | capture, s |
|---|---:|---:|---:|---:|---:|---:|---:|"""

HOW = f"""\
The library's own hierarchy: NVAE's cells with BatchNorm, swish, depthwise convolutions and squeeze-excite, residual
normals, sites z_1 … z_L with dims of their own, the way down shared by prior and guide, which are two programs; by hand
it is passed once. Same batch, starting parameters
and fused Adam for all, learning rate {LEARNING_RATE:g}, so that every round times the same work. Nothing is compiled.
The candidates take turns round by round; a ratio is taken within a round. Capture is timed once, from the first
recording to the last comparison with the eager step in float64."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.hierarchy_time", __doc__, steps=3, rounds=15)
    parser.add_argument("--groups", nargs="+", type=int, choices=HIERARCHIES, default=list(HIERARCHIES))
    parser.add_argument(
        "--clock", choices=get_args(Clock), default="wall", help="cpu: for one thread, where others work"
    )
    chosen, fabric, load = started(parser, arguments)
    setups = [HIERARCHIES[groups] for groups in chosen.groups]
    page = written(setups, fabric, chosen.steps, chosen.rounds, load, chosen.clock)
    print(page)
    if chosen.write:
        Path(chosen.write).write_text(page + "\n")


def written(
    setups: Sequence[HierarchySetup], fabric: "Fabric", steps: int, rounds: int, load: float, clock: Clock = "wall"
) -> str:
    """The page: agreement is checked before anything is timed."""
    worst = max(check_agreement(setup, "") for setup in setups)
    rows, verdicts = [], []
    for setup in setups:
        found = layers(setup)
        times = milliseconds(rivals(setup, fabric), steps, rounds, fabric.device, clock)
        rows.append(row(setup.title, times, found))
        pair = (setup.title, CAPTURED), (setup.title, UNCOMPILED)
        verdicts.append("- " + verdict(f"{setup.title}: captured over by hand", times, *pair, LIMIT))
        eager, captured = (times[setup.title, name] for name in (EAGER, CAPTURED))
        gained = median(eager / captured)
        verdicts.append(
            f"- {'held' if gained >= EAGER_LIMIT else 'MISSED'}: {setup.title}: eager over captured {gained:.2f}"
        )
        prepared = "held" if found.seconds <= SECONDS else "MISSED"
        verdicts.append(f"- {prepared}: {setup.title}: capture takes {found.seconds:.1f} s, target ≤ {SECONDS:.0f} s")
        once = "held" if found.recorded == found.modules else "MISSED"
        verdicts.append(f"- {once}: {setup.title}: {found.text} convolutions and norms recorded")
    first = setups[0]
    note = (
        f"Images {first.image_shape}, batch {first.batch_size}, width {first.width}, {first.latents} latents a place; "
        f"{rounds} rounds of {steps} steps each, {clock} time. Same distortion, rate and gradients from the same "
        f"parameters and noise: largest relative difference {worst:.1g}."
    )
    facts = provenance("experiments.benchmarks.hierarchy_time", fabric, load)
    title = "# Time of a training step of hierarchies"
    return "\n\n".join([title, HOW, note, "\n".join([HEAD, *rows]), "\n".join(verdicts), facts])


if __name__ == "__main__":
    main()
