"""What it costs to stream images from disk: steps over those on images in memory, and a process's peak memory.

``python -m experiments.benchmarks.stream_time [--images N] [--steps N] [--rounds R] [--threads T] [--write PAGE.md]``

The same images in memory, in a Zarr store as ``data.cache`` writes it and in a .npy file: sprites with noise in their
lowest three bits, as photographs have. Loops take turns, some steps each; what is read for a window of images
falls into some rounds only, so that speeds are those of all rounds together. Peak memory is that of a process of its
own, which trains on one of them and holds nothing else.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from ppvae.datasets import ImageDataset, RenderedImages, npy, sprites, write_zarr, zarr
from ppvae.memory import readable_size
from ppvae.svi import Recipe

from .command import command, started
from .recipe_time import Training
from .setups import SETUPS, Setup
from .step_time import provenance, quartiles

__all__ = ["SOURCES", "Cost", "main", "measured", "table", "written"]

LEAST_SPEED, MOST_MEMORY = 0.9, 1.5 * 2**30
MEMORY, DIFFERENT = "in memory", 2048
SOURCES: dict[str, Callable[[Path], ImageDataset]] = {
    MEMORY: partial(zarr, resident=True),
    "Zarr": zarr,
    ".npy": npy,
}
FILES = {MEMORY: "images.zarr", "Zarr": "images.zarr", ".npy": "images.npy"}


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step, (round,), seconds until an epoch's first batch, and a process's peak resident bytes."""

    milliseconds: np.ndarray
    wait: float
    peak: int


def written(folder: Path, images: int, image_size: int = 64) -> float:
    """Write the files of ``SOURCES``; returns the seconds that the store took."""
    drawn = sprites(size=min(DIFFERENT, images), seed=0, image_size=image_size)
    data = ImageDataset(RenderedImages(partial(_noisy, drawn.stored()), torch.arange(images), drawn.image_shape))
    start = time.perf_counter()
    write_zarr(data, folder / FILES["Zarr"])
    seconds = time.perf_counter() - start
    held = np.lib.format.open_memmap(folder / FILES[".npy"], "w+", np.uint8, (images, *drawn.image_shape))
    for first in range(0, images, 4096):
        held[first : first + 4096] = data.stored(slice(first, first + 4096)).numpy()
    held.flush()
    return seconds


def _noisy(base: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    noise = np.random.default_rng(int(positions[0])).integers(0, 8, (len(positions), *base.shape[1:]), dtype=np.uint8)
    return base[positions % len(base)] ^ torch.from_numpy(noise)


def measured(folder: Path, setup: Setup, fabric: Fabric, steps: int, rounds: int) -> dict[str, Cost]:
    """What each source costs; the processes that measure memory come first, while this one holds no images."""
    peaks = {name: _peak_of(folder, name, setup, steps * rounds) for name in SOURCES}
    trainings = {
        name: Training(setup, Recipe(), fabric, read(folder / FILES[name]).images) for name, read in SOURCES.items()
    }
    waits = {name: _seconds(training, 1) for name, training in trainings.items()}
    times: dict[str, list[float]] = {name: [] for name in SOURCES}
    for _ in range(rounds):
        for name, training in trainings.items():
            gc.collect()
            times[name].append(1000 * _seconds(training, steps) / steps)
    return {name: Cost(np.array(times[name]), waits[name], peaks[name]) for name in SOURCES}


def _seconds(training: Training, steps: int) -> float:
    start = time.perf_counter()
    training.run(steps)
    return time.perf_counter() - start


def _peak_of(folder: Path, name: str, setup: Setup, steps: int) -> int:
    title = next(key for key, one in SETUPS.items() if one.encoder is setup.encoder)
    words = [sys.executable, "-m", __spec__.name, "--alone", name, "--folder", str(folder)]
    words += ["--setup", title, "--steps", str(steps), "--threads", str(torch.get_num_threads())]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def _alone(folder: Path, name: str, setup: Setup, fabric: Fabric, steps: int) -> int:
    """This process's peak resident bytes, after some steps on one source."""
    Training(setup, Recipe(), fabric, SOURCES[name](folder / FILES[name]).images).run(steps)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(arguments: Sequence[str] | None = None) -> str:
    """Time, print and write the page."""
    parser = command("experiments.benchmarks.stream_time", __doc__, steps=60, rounds=10)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--setup", choices=SETUPS, default="conv", help="networks; their images are made as large")
    parser.add_argument("--folder", type=Path, help="of the files; a temporary one by default")
    parser.add_argument("--alone", choices=SOURCES, help="only train on this one, and print the peak memory in bytes")
    chosen, fabric, load = started(parser, arguments)
    setup = SETUPS[chosen.setup]
    if chosen.alone:
        peak = str(_alone(chosen.folder, chosen.alone, setup, fabric, chosen.steps))
        print(peak)
        return peak
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        seconds = written(folder, chosen.images, setup.image_shape[-1])
        sizes = {file: _size(folder / file) for file in dict.fromkeys(FILES.values())}
        costs = measured(folder, setup, fabric, chosen.steps, chosen.rounds)
    page = _page(costs, chosen, load, fabric, f"{seconds:.0f} s to write the store; on disk: {_said(sizes)}.")
    print(page)
    if chosen.write:
        chosen.write.write_text(page)
    return page


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _said(sizes: dict[str, int]) -> str:
    return ", ".join(f"`{name}` {readable_size(size)}" for name, size in sizes.items())


def table(costs: dict[str, Cost]) -> str:
    """A row for each source, judged by all rounds together and the peak memory."""
    total = costs[MEMORY].milliseconds.sum()
    lines = [
        "| images | ms a step | speed over in memory: all rounds | a round's median (quartiles) | first batch after |"
        " peak memory | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, cost in costs.items():
        speed, ratio = total / cost.milliseconds.sum(), costs[MEMORY].milliseconds / cost.milliseconds
        held = "held" if speed >= LEAST_SPEED and cost.peak <= MOST_MEMORY else "MISSED"
        lines.append(
            f"| {name} | {cost.milliseconds.mean():.2f} | {speed:.3f} | {quartiles(ratio)} | {cost.wait:.2f} s |"
            f" {readable_size(cost.peak)} | {'' if name == MEMORY else held} |"
        )
    return "\n".join(lines)


def _page(costs: dict[str, Cost], chosen: argparse.Namespace, load: float, fabric: Fabric, stored: str) -> str:
    setup = SETUPS[chosen.setup]
    pixels = readable_size(chosen.images * int(np.prod(setup.image_shape)))
    how = (
        f"{chosen.images} images, {pixels} as bytes; {setup.title}. {stored} {chosen.rounds} rounds of {chosen.steps}"
        f" steps each, in turn; peak memory of a process that makes {chosen.steps * chosen.rounds} steps. Targets:"
        f" speed ≥ {LEAST_SPEED} of that in memory, at most {readable_size(int(MOST_MEMORY))}."
    )
    facts = provenance("experiments.benchmarks.stream_time", fabric, load)
    return "\n\n".join(["# Images streamed from disk", facts, how, table(costs)]) + "\n"


if __name__ == "__main__":
    main()
