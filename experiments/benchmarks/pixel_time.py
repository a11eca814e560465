"""Time of a training step of PixelVAE, full past and windowed: ours and plain PyTorch in one process.

``python -m experiments.benchmarks.pixel_time [--steps N] [--rounds R] [--threads N] [--write PAGE.md [--append]]``

The candidates take turns, a few steps each, round after round; a ratio is taken within a round.
"""

from collections.abc import Iterator, Sequence
from typing import get_args

import torch
from lightning_fabric import Fabric

from ppvae import BetaELBO

from .agreement import check_agreement
from .candidates import BASELINE, LEARNING_RATE, UNCOMPILED, Candidate, Way, hand_written, ours
from .command import command, started, write_section
from .pixel_setup import PIXELS, WINDOWS, PixelSetup
from .step_time import Clock, milliseconds, over_fastest, provenance, table

__all__ = ["main", "pixel_candidates"]


def pixel_candidates(
    setup: PixelSetup, kinds: Sequence[str], fabric: Fabric, *, compiled: bool = True
) -> Iterator[Candidate]:
    """All that compete, in the order of a round; without the compiled ones if so wished."""
    images = setup.images().to(fabric.device)
    ways: tuple[Way, ...] = ("compiled", "captured") if compiled else ("captured",)
    for kind in kinds:
        for way in ways:
            yield Candidate(kind, f"ours, {way}", ours(setup.pair(kind), BetaELBO(), images, fabric, way))
        if compiled:
            yield Candidate(kind, BASELINE, hand_written(setup, kind, images, compiled=True))
        yield Candidate(kind, UNCOMPILED, hand_written(setup, kind, images, compiled=False))


HOW = f"""\
# Time of a training step of PixelVAE

Same networks, batch, starting parameters and fused Adam for all, learning rate {LEARNING_RATE:g}, so that every round
times the same work. Ours runs the training loop's own path on one device. The hand-written system has no Pyro: encoder,
decoder and gated stacks are called one after another, the rate is in closed form, the distortion one
`binary_cross_entropy_with_logits`. `fit` chooses between captured and compiled by timing. CPU time is what the process
had of its core, for one thread on a machine that others use."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.pixel_time", __doc__, steps=2, rounds=9)
    parser.add_argument("--kinds", nargs="+", choices=WINDOWS, default=list(WINDOWS))
    parser.add_argument(
        "--clock", choices=get_args(Clock), default="wall", help="cpu: for one thread, where others work"
    )
    parser.add_argument("--append", action="store_true", help="add a section to the page")
    chosen, fabric, load = started(parser, arguments)
    torch._dynamo.config.recompile_limit = 64  # one graph for each candidate, none of them recompiled
    worst = max(check_agreement(PIXELS, kind) for kind in chosen.kinds)
    rivals = list(pixel_candidates(PIXELS, chosen.kinds, fabric))
    times = milliseconds(rivals, chosen.steps, chosen.rounds, fabric.device, chosen.clock)
    threads = torch.get_num_threads()
    sections = [
        f"## {PIXELS.title}, {threads} thread{'s' if threads > 1 else ''}",
        f"{chosen.rounds} rounds of {chosen.steps} steps each, {chosen.clock} time. Same distortion, rate and "
        f"gradients from the same parameters and noise: largest relative difference {worst:.1g}.",
        table(times),
        "\n".join(f"- {over_fastest(times, kind)}" for kind in chosen.kinds),
        provenance("experiments.benchmarks.pixel_time", fabric, load),
    ]
    section = "\n\n".join(sections)
    print(section)
    if chosen.write:
        write_section(chosen.write, HOW, section, append=chosen.append)


if __name__ == "__main__":
    main()
