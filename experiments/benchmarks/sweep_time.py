"""Eight members of a sweep by joblib and by a local Ray, against one after another on one core.

    uv run -m experiments.benchmarks.sweep_time [launchers=basic,joblib,ray] [seconds=15]

Each member trains by one thread for about ``seconds``, found by a short training before. Written to ``sweep_time.csv``.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import pandas as pd

from experiments.provenance import as_markdown, environment

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


def main() -> None:
    """Prints a table of wall times and ratios."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    epochs = _epochs(float(given.get("seconds", 15)))
    rows = []
    for launcher in given.get("launchers", "basic,joblib,ray").split(","):
        wall, training = _sweep(launcher, [f"seed=range({MEMBERS})", f"trainer.epochs={epochs}"])
        rows.append({"launcher": launcher, "wall (s)": wall, "training of a member (s)": training})
    table = pd.DataFrame(rows)
    table["ratio"] = table["wall (s)"].iloc[0] / table["wall (s)"]
    table.round(2).to_csv("sweep_time.csv", index=False)
    print(as_markdown(environment(list(range(MEMBERS)))), table.round(2).to_string(index=False), sep="\n\n")


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
