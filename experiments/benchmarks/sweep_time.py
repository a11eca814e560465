"""Eight members of a sweep by joblib and by a local Ray, against one after another on one core.

    uv run -m experiments.benchmarks.sweep_time [--launchers basic joblib ray] [--seconds 15] [--write PAGE.md]

Each member trains by one thread for about so many seconds, the epochs found by a short training before.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import joblib
import pandas as pd

from ..provenance import as_markdown, environment
from ..report import Table

MEMBERS = 8
TINY = [
    "prior=normal",
    "guide=mean_field",
    "network=small_conv",
    "data.size=1024",
    "data.image_size=32",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.stopping=null",
    "trainer.accelerator=cpu",
    "posterior.images=64",
    "diagnosis.images=0",
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table of wall times and ratios."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.sweep_time", description=__doc__)
    parser.add_argument("--launchers", nargs="+", default=["basic", "joblib", "ray"], help="the first is the measure")
    parser.add_argument("--seconds", type=float, default=15.0, help="training of a member")
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    epochs, load = _epochs(chosen.seconds), os.getloadavg()[0]
    rows = []
    for launcher in chosen.launchers:
        wall, training = _sweep(launcher, [f"seed=range({MEMBERS})", f"trainer.epochs={epochs}"])
        rows.append((launcher, wall, training))
    facts = {**environment(list(range(MEMBERS))), "load average before": f"{load:.1f}"}
    page = f"# Sweeps: {MEMBERS} members of {epochs} epochs\n\n{as_markdown(facts)}\n\n{_table(rows)}"
    print(page)
    if chosen.write:
        chosen.write.write_text(page)


def _table(rows: Sequence[tuple[str, float, float]]) -> str:
    first = rows[0]
    cells = [[name, f"{wall:.1f}", f"{own:.1f}", f"{first[1] / wall:.2f}"] for name, wall, own in rows]
    columns = ["launcher", "wall (s)", "training of a member (s)", f"times as fast as {first[0]}"]
    return Table("", columns, cells).as_markdown()


def _epochs(seconds: float) -> int:
    """So many as take the seconds."""
    few = 10
    _, training = _sweep("basic", ["seed=0", f"trainer.epochs={few}"])
    return max(1, round(few * seconds / training))


def _sweep(launcher: str, overrides: list[str]) -> tuple[float, float]:
    """Wall time of the whole command, and the mean training time of its members, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "experiments", "--multirun", *TINY, *overrides, f"launcher={launcher}"]
        began = time.perf_counter()
        subprocess.run(
            [*command, f"workers={joblib.cpu_count()}", f"hydra.sweep.dir={folder}"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        wall = time.perf_counter() - began
        return wall, float(pd.read_csv(Path(folder) / "sweep.csv")["seconds"].mean())


if __name__ == "__main__":
    main()
