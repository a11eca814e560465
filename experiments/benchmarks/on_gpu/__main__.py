"""All that is to be measured on a GPU, within minutes, by one command.

``python -m experiments.benchmarks.on_gpu [--accelerator cuda|cpu] [--small] [--minutes 8] [--write FOLDER]``

Writes ``on_gpu.csv`` and ``on_gpu.md`` after each part: on a GPU into ``experiments/results`` unless ``--write`` says
otherwise, on a CPU only where it does. Needs no network and no files. Exit code 2 where anything failed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric

from .evaluation import evaluation_units, memory_units
from .page import page, written
from .sizes import FULL, SMALL, Sizes
from .steps import bf16_units, capture_units, compilation_units, time_units
from .training import batch_units, main_job_units, moving_units, recipe_units
from .trial import Part, Row, carried_out

__all__ = ["main", "parts_of"]

RESULTS = Path(__file__).parents[2] / "results"


def parts_of(sizes: Sizes, fabric: Fabric, accelerator: str) -> list[Part]:
    """What is measured, the most important first."""
    return [
        Part("main job", "NGVAE on sprites, convolutional.", 8, lambda: main_job_units(sizes, accelerator)),
        Part("capture", "Each pair and objective, recorded.", 15, lambda: capture_units(sizes, fabric)),
        Part("step times", "Beside hand-written PyTorch and plain Pyro.", 20, lambda: time_units(sizes, fabric)),
        Part("bf16", "Networks in bf16.", 8, lambda: bf16_units(sizes, fabric)),
        Part("memory", "Of the NGVAE, convolutional.", 5, lambda: memory_units(sizes, fabric)),
        Part("evaluation", "Exports and log p(x) of the NGVAE.", 6, lambda: evaluation_units(sizes, fabric)),
        Part("moving", "From the CPU to the device and back.", 4, lambda: moving_units(sizes, accelerator)),
        Part("recipes", "Options, with validation.", 8, lambda: recipe_units(sizes, accelerator)),
        Part("batches", "Where the images are.", 5, lambda: batch_units(sizes, accelerator)),
        Part("compilation", "Each pair and objective, compiled.", 25, lambda: compilation_units(sizes, fabric)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.on_gpu", description=__doc__)
    parser.add_argument("--accelerator", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny networks and a few pairs, nothing compiled")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything")
    parser.add_argument("--write", type=Path, help="folder for on_gpu.csv and on_gpu.md")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.minutes < float("inf"):
        parser.error(f"--minutes {chosen.minutes:g}: expected a positive number")
    if chosen.accelerator == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --accelerator cpu tries the same on the CPU")
    fabric = Fabric(accelerator=chosen.accelerator, devices=1)
    folder = chosen.write or (RESULTS if chosen.accelerator == "cuda" else None)
    parts = parts_of(SMALL if chosen.small else FULL, fabric, chosen.accelerator)

    def after(part: Part, rows: list[Row]) -> None:
        failed = sum(row.failed for row in rows)
        print(f"{part.name}: done, {len(rows)} rows, {failed} failed", file=sys.stderr, flush=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            written(rows, page(rows, parts, fabric.device, chosen.minutes), folder)

    rows = carried_out(parts, 60 * chosen.minutes, after)
    print(page(rows, parts, fabric.device, chosen.minutes))
    if any(row.failed for row in rows):
        sys.exit(2)


if __name__ == "__main__":
    main()
