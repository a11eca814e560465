"""Five hundred grey pictures of 48 × 64 and a table of labels → their codes with the labels, in one command.

    uv run -m experiments.benchmarks.labelled_pictures [prior=normal guide=mean_field …] [--write PAGE.md]

The pictures are drawn here, noisy cells in any place; wall and processor time are of the command as a user gives it.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..provenance import as_markdown, environment
from ..report import Table

PICTURES, ROWS, COLUMNS = 500, 48, 64
WORDS = ["data=image_folder", "data.path=cells", "data.table=labels.csv", "trainer.accelerator=cpu"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints how long the command took and the first rows of its table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.labelled_pictures", description=__doc__)
    parser.add_argument("words", nargs="*", help="of the command line, beside the data's")
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        given = draw_cells(Path(folder))
        wall, processor = _timed([*WORDS, *chosen.words], folder)
        (found,) = Path(folder).glob("runs/*/*/codes.csv")
        table = pd.read_csv(found, index_col="image")
    pd.testing.assert_frame_equal(table.reset_index()[list(given)], given)  # each picture once, with its own labels
    shown = table.reset_index().iloc[:3, :9].round(3)
    facts = environment(0) | {
        "load average before": f"{load:.1f}",
        "threads": os.environ.get("OMP_NUM_THREADS", "torch's choice"),
    }
    page = f"""# {PICTURES} grey pictures of {ROWS} × {COLUMNS} and a CSV of labels → codes as CSV with labels

`python -m experiments {" ".join([*WORDS, *chosen.words])}`

took **{wall:.0f} s**, in which the processors worked {processor:.0f} s for it: reading, training, posterior, metrics,
both pages and `codes.csv`; the load average says how many others wanted the cores. Each of the {len(table)} rows was
held against the labels given. The first:

{Table("", list(shown), shown.values.tolist()).as_markdown()}

{as_markdown(facts)}
"""
    print(page)
    if chosen.write:
        chosen.write.write_text(page)


def draw_cells(folder: Path) -> pd.DataFrame:
    """Write ``cells/`` and ``labels.csv``: a bright cell each, round or long, of a radius in pixels; the labels."""
    (folder / "cells").mkdir()
    random, (down, across) = np.random.default_rng(0), np.mgrid[:ROWS, :COLUMNS]
    rows = []
    for number in range(PICTURES):
        x, y, radius, long = (
            random.uniform(16, 48),
            random.uniform(14, 34),
            random.uniform(4, 10),
            random.random() < 0.5,
        )
        inside = (across - x) ** 2 / (2 if long else 1) + (down - y) ** 2 < radius**2
        levels = (30 + 180 * inside + random.normal(0, 6, inside.shape)).clip(0, 255)
        Image.fromarray(levels.astype(np.uint8)).save(folder / "cells" / f"cell_{number:04}.png")
        rows.append((f"cell_{number:04}.png", "long" if long else "round", round(radius, 3), x > COLUMNS / 2))
    table = pd.DataFrame(rows, columns=["file", "shape", "radius", "right"])
    table.to_csv(folder / "labels.csv", index=False)
    return table


def _timed(words: list[str], folder: str) -> tuple[float, float]:
    """Wall and processor seconds of the command line in that folder."""
    place = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "experiments", *words], cwd=folder, env=os.environ | {"PYTHONPATH": place}, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, spent


if __name__ == "__main__":
    main()
