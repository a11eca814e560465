"""The command line that the step-time benchmarks share, and their pages."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric

__all__ = ["command", "started", "write_section"]


def command(module: str, description: str | None, *, steps: int, rounds: int) -> argparse.ArgumentParser:
    """A parser of ``--steps``, ``--rounds``, ``--threads``, ``--accelerator`` and ``--write``, with these defaults."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--steps", type=int, default=steps, help="steps a round")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    parser.add_argument("--accelerator", default="cpu", help="Fabric's accelerator: cpu, cuda, auto")
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    return parser


def started(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, Fabric, float]:
    """What was asked, the device, and the load average before; warns where threads will wait for each other."""
    chosen = parser.parse_args(arguments)
    if min(chosen.steps, chosen.rounds) < 1:
        parser.error("--steps and --rounds must be at least 1")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    fabric, load = Fabric(accelerator=chosen.accelerator, devices=1), os.getloadavg()[0]
    if load > (os.cpu_count() or 1) / 2 and torch.get_num_threads() > 1:
        print(f"load average {load:.1f}: threads will wait for each other; wait, or use --threads 1", file=sys.stderr)
    return chosen, fabric, load


def write_section(path: Path, opening: str, section: str, *, append: bool) -> None:
    """A page of an opening and one section, or one more section on a page."""
    before = path.read_text() if append else f"{opening}\n"
    path.write_text(f"{before}\n{section}\n")
