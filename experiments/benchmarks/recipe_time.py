"""What a recipe costs: steps with it over steps without, and what a run spends on checkpoints and logs.

``python -m experiments.benchmarks.recipe_time [--steps N] [--rounds R] [--threads T] [--write PAGE.md]``

Loops take turns, a few steps each, round after round; ratios are taken within a round, then their median. The share of
checkpoints and logs is that of a run of ``fit`` at its defaults, by the time inside their functions.
"""

import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import batched, cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyro
import torch
from lightning_fabric import Fabric

from ppvae import BetaELBO, fit
from ppvae.datasets.conversion import Conversion
from ppvae.svi import Recipe
from ppvae.svi.keeping import Keeping
from ppvae.svi.logs import Logs
from ppvae.svi.loop import Loop
from ppvae.svi.progress import bar
from ppvae.svi.run import Run, Settings

from ..provenance import as_markdown, command_line, environment
from .command import command, started
from .setups import SETUPS, Setup
from .step_time import quartiles

__all__ = ["RECIPES", "Training", "main"]

STEP_LIMIT, DISK_LIMIT = 1.05, 0.02
PLAIN = "Adam"
RECIPES = {
    PLAIN: Recipe(),
    "warm-up and cosine": Recipe(schedule="cosine", warmup=100),
    "average": Recipe(average=0.999),
    "clipped norm": Recipe(clip_norm=1e9),
    "skipped steps": Recipe(skip_norm=1e9),
    "all of these": Recipe(schedule="cosine", warmup=100, average=0.999, clip_norm=1e9, skip_norm=1e9),
    "bf16": Recipe(precision="bf16"),
}
BATCHES = 16  # an epoch's


class Training:
    """Steps of a prepared loop, epoch after epoch, on some batches of noise unless ``images`` are given."""

    def __init__(self, setup: Setup, recipe: Recipe, fabric: Fabric, images: Any = None) -> None:
        images = torch.cat([setup.images(seed) for seed in range(BATCHES)]) if images is None else images
        settings = Settings(10**6, setup.batch_size, recipe, 0, "captured", False, None, None)
        run = Run(*setup.pair("VAE"), BetaELBO(), images, (), Conversion(), None, settings, None, False)
        self.loop = Loop(fabric, run)
        self.loop._prepare(bar(0, wanted=False))
        self.batches = batched((b for epoch in cycle(range(8)) for b in self.loop.batches.epoch(epoch)), 1)
        self.number = 0

    def run(self, steps: int) -> None:
        with pyro.validation_enabled(False):
            for _ in range(steps):
                if self.loop.position.taken == self.loop.batches.steps:
                    self.loop.position.new_epoch()
                    self.loop.optimisation.new_epoch()
                self.loop._step(self.number, next(self.batches))
                self.number += 1


def milliseconds(setup: Setup, fabric: Fabric, steps: int, rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds a step under each recipe, (round,), after a warm-up."""
    rivals = {name: Training(setup, recipe, fabric) for name, recipe in RECIPES.items()}
    for rival in rivals.values():
        rival.run(steps)
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, rival in rivals.items():
            gc.collect()
            start = time.perf_counter()
            rival.run(steps)
            times[name].append(1000 * (time.perf_counter() - start) / steps)
    return {name: np.array(row) for name, row in times.items()}


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Note the seconds inside checkpoints and logs."""

    def noting(name: str, real):
        def call(*arguments):
            start = time.perf_counter()
            real(*arguments)
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

        return call

    with (
        patch.object(Keeping, "save", noting("checkpoints", Keeping.save)),
        patch.object(Logs, "write", noting("logs", Logs.write)),
    ):
        yield


def disk(setup: Setup, epochs: int, images: int) -> dict[str, float]:
    """Seconds of a run of ``fit`` at its defaults: in checkpoints, in logs, and in its epochs' steps."""
    data = torch.cat([setup.images(seed) for seed in range(images // setup.batch_size)])
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, timed(spent):
        options: dict[str, Any] = {"epochs": epochs, "batch_size": setup.batch_size, "execution": "captured"}
        model, guide = setup.pair("VAE")
        history = fit(model, guide, data, directory=Path(folder) / "run", progress=False, **options)
    return {**spent, "steps": float(history["seconds"].sum())}


def main(arguments: Sequence[str] | None = None) -> str:
    """Time, print and write the page."""
    parser = command("experiments.benchmarks.recipe_time", __doc__, steps=60, rounds=15)
    parser.add_argument("--epochs", type=int, default=5, help="of the run whose checkpoints and logs are timed")
    parser.add_argument("--images", type=int, default=8192, help="of that run")
    chosen, fabric, load = started(parser, arguments)
    parts = ["# What a recipe costs"]
    facts = {"command": f"`{command_line('experiments.benchmarks.recipe_time')}`", **environment(0)}
    facts |= {"threads": str(torch.get_num_threads()), "load average before": f"{load:.1f}"}
    parts.append(as_markdown(facts))
    for setup in SETUPS.values():
        steps = max(1, round(chosen.steps * setup.share))
        times = milliseconds(setup, fabric, steps, chosen.rounds)
        parts += [f"## {setup.title}", _table(times), _disk(disk(setup, chosen.epochs, chosen.images), chosen.images)]
    page = "\n\n".join(parts) + "\n"
    print(page)
    if chosen.write:
        chosen.write.write_text(page)
    return page


def _table(times: dict[str, np.ndarray]) -> str:
    lines = ["| recipe | ms a step | over Adam alone: median (quartiles) | |", "|---|---:|---:|---|"]
    for name, row in times.items():
        ratio = row / times[PLAIN]
        limited = name not in (PLAIN, "bf16")
        said = ("held" if np.median(ratio) <= STEP_LIMIT else "MISSED") + f", ≤ {STEP_LIMIT}" if limited else ""
        lines.append(f"| {name} | {np.median(row):.2f} | {quartiles(ratio)} | {said} |")
    return "\n".join(lines)


def _disk(spent: dict[str, float], images: int) -> str:
    share = (spent["checkpoints"] + spent["logs"]) / spent["steps"]
    held = "held" if share <= DISK_LIMIT else "MISSED"
    return (
        f"{held}: checkpoints take {spent['checkpoints']:.2f} s and logs {spent['logs']:.2f} s of a run whose steps "
        f"take {spent['steps']:.1f} s (epochs of {images} images): {100 * share:.1f} %, target ≤ "
        f"{100 * DISK_LIMIT:.0f} %."
    )


if __name__ == "__main__":
    main()
