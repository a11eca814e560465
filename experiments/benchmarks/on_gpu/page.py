"""What was found, as one CSV and one page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import torch

from ppvae.files import replace_atomically

from ...provenance import as_markdown, command_line, environment
from .trial import Part, Row

__all__ = ["NO_GPU", "page", "written"]

NO_GPU = "**GPU: not measured.** All numbers below are a CPU's: they say that the command runs, no more."
HOW = """\
Each part has a share of the time, in the order below, and leaves what it does not need to the later ones; what fails is
a row with its reason. A ratio is the value over the reference; of step times it is the median of the ratios within
rounds. Losses of one step are compared from the same parameters under the same seed."""


def page(rows: Sequence[Row], parts: Sequence[Part], device: torch.device, minutes: float) -> str:
    """Markdown: a table a part, then versions, device and commit."""
    head = ["# On a GPU", *([NO_GPU] if device.type == "cpu" else []), HOW, _summary(rows)]
    tables = [
        f"## {part.name}\n\n{part.about}\n\n{_table(own)}"
        for part in parts
        if (own := [row for row in rows if row.part == part.name])
    ]
    facts = {
        "command": f"`{command_line('experiments.benchmarks.on_gpu')}`",
        **environment(seed=0),
        "device": _named(device),
        "CUDA": str(torch.version.cuda) if device.type == "cuda" else "not used",
        "threads": str(torch.get_num_threads()),
        "minutes allowed": f"{minutes:g}",
    }
    return "\n\n".join([*head, *tables, "## Where these come from", as_markdown(facts)]) + "\n"


def _summary(rows: Sequence[Row]) -> str:
    found, failed = sum(row.value is not None for row in rows), sum(row.failed for row in rows)
    return f"{found} numbers, {failed} failures, {len(rows) - found - failed} not measured for lack of time."


def _table(rows: Sequence[Row]) -> str:
    lines = ["| what | value | unit | reference | ratio | note |", "|---|---:|---|---:|---:|---|"]
    for row in rows:
        numbers = [_number(one) for one in (row.value, row.reference, row.ratio)]
        cells = [row.what, numbers[0], row.unit, *numbers[1:], row.note]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def written(rows: Sequence[Row], text: str, folder: Path) -> None:
    """``on_gpu.csv`` and ``on_gpu.md`` in ``folder``, each replaced as a whole."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*Row._fields])
    writer.writerows(rows)
    replace_atomically(folder / "on_gpu.csv", lambda path: path.write_text(table.getvalue()))
    replace_atomically(folder / "on_gpu.md", lambda path: path.write_text(text))
