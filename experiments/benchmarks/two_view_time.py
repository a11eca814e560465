"""Time of a training step of the two-view pair, with and without clusters: ours and plain PyTorch in one process.

``python -m experiments.benchmarks.two_view_time [--steps N] [--rounds R] [--clusters none optimal] [--write PAGE.md]``

The candidates take turns, a few steps each, round after round; a ratio is taken within a round.
"""

from collections.abc import Iterator, Sequence

import torch
from lightning_fabric import Fabric

from ppvae import BetaELBO

from .agreement import check_agreement
from .candidates import BASELINE, LEARNING_RATE, UNCOMPILED, Candidate, Way, hand_written, ours
from .command import command, started
from .hand_written_two_view import CLUSTERS, Clusters
from .step_time import (
    WAYS,
    Times,
    fastest,
    milliseconds,
    over_fastest,
    provenance,
    quartiles,
    table,
)
from .two_view_setup import TWO_VIEW, TwoViewSetup

__all__ = ["main", "two_view_candidates", "two_view_verdicts"]


def two_view_candidates(
    setup: TwoViewSetup, kinds: Sequence[Clusters], fabric: Fabric, *, compiled: bool = True
) -> Iterator[Candidate]:
    """All that compete, in the order of a round; without the compiled ones if so wished."""
    images = setup.images().to(fabric.device)
    ways: tuple[Way, ...] = ("compiled", "captured", "eager") if compiled else ("captured", "eager")
    for kind in kinds:
        for way in ways:
            yield Candidate(_model(kind), f"ours, {way}", ours(setup.pair(kind), BetaELBO(), images, fabric, way))
        if compiled:
            yield Candidate(_model(kind), BASELINE, hand_written(setup, kind, images, compiled=True))
        yield Candidate(_model(kind), UNCOMPILED, hand_written(setup, kind, images, compiled=False))


def _model(kind: Clusters) -> str:
    return "no clusters" if kind == "none" else f"{kind} clusters"


def two_view_verdicts(times: Times) -> list[str]:
    """For each model whether the target holds; then the ratios that have no target."""
    models = list(dict.fromkeys(model for model, _ in times))
    own = {model: fastest(times, model, *WAYS) for model in models}
    lines = [over_fastest(times, model) for model in models]
    for model in models:
        for name in (BASELINE, UNCOMPILED):
            ratio = quartiles(times[own[model]] / times[model, name])
            lines.append(f"no target: {model}: {own[model][1]} over {name}: {ratio}")
    for model in models[1:]:
        costs = [f"ours {quartiles(times[own[model]] / times[own[models[0]]])}"]
        costs += [f"{n} {quartiles(times[model, n] / times[models[0], n])}" for n in (BASELINE, UNCOMPILED)]
        lines.append(f"no target: {model} over {models[0]}: {'; '.join(costs)}")
    return lines


HOW = f"""\
Same networks, batch, starting parameters and fused Adam for all, learning rate {LEARNING_RATE:g}, so that every round
times the same work. Ours runs the training loop's own path on one device, the measurements of the history added up.
The hand-written system has no Pyro: pixels put in the order of `torch.rand(…).argsort()`, the logistic's mass in closed
form, and for the optimal clusters one `logsumexp`. {TWO_VIEW.clusters} clusters, where there are any."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.two_view_time", __doc__, steps=8, rounds=15)
    parser.add_argument("--clusters", nargs="+", choices=CLUSTERS, default=list(CLUSTERS))
    chosen, fabric, load = started(parser, arguments)
    torch._dynamo.config.recompile_limit = 64  # one graph for each candidate, none of them recompiled
    worst = max(check_agreement(TWO_VIEW, kind) for kind in chosen.clusters)
    rivals = list(two_view_candidates(TWO_VIEW, chosen.clusters, fabric))
    times = milliseconds(rivals, chosen.steps, chosen.rounds, fabric.device)
    note = (
        f"{chosen.rounds} rounds of {chosen.steps} steps each. Same distortion, rate and gradients from the same "
        f"parameters and noise: largest relative difference {worst:.1g}."
    )
    lines = "\n".join(f"- {line}" for line in two_view_verdicts(times))
    facts = provenance("experiments.benchmarks.two_view_time", fabric, load)
    sections = [
        "# Time of a training step with two views",
        HOW,
        f"## {TWO_VIEW.title}",
        note,
        table(times),
        lines,
        facts,
    ]
    page = "\n\n".join(sections)
    print(page)
    if chosen.write:
        chosen.write.write_text(page + "\n")


if __name__ == "__main__":
    main()
