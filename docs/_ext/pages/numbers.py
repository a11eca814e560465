"""The papers' numbers beside ours, read from `experiments/results`, so that a page says what was measured last."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pages.tables import table

__all__ = ["NumberRow", "number_rows", "number_table", "results_tables", "seeds_of"]

DOCS = Path(__file__).parents[2]
RESULTS = DOCS.parent / "experiments/results"
PUBLISHED = DOCS / "published.csv"
BESIDE = {  # results whose own tables have the paper's number in brackets
    "ngvae": ("ngvae_table1",),
    "two_views": ("swap", "clusters_plain", "clusters"),
    "semi_supervised": ("semi_supervised_mnist",),
}
HEAD = ("what", "paper", "here", "seeds", "cost", "from")
COST = "training time (s)"
WAITING = "being measured"

type Table = list[list[str]]


@dataclass(frozen=True)
class NumberRow:
    """One number: what it is, the paper's, ours, by how many seeds, at what cost, and the file that says more."""

    system: str
    what: str
    paper: str
    here: str
    seeds: str
    cost: str
    results: str


def number_rows(system: str | None = None, *, results: Path = RESULTS, published: Path = PUBLISHED) -> list[NumberRow]:
    """The rows of one system, or all; a results file that is not there yet leaves its row waiting."""
    rows = [row for name, files in BESIDE.items() for file in files for row in _bracketed(name, results / f"{file}.md")]
    with published.open(newline="") as lines:
        rows += [_addressed(line, results) for line in csv.DictReader(lines)]
    return [row for row in rows if system in (None, row.system)]


def number_table(system: str | None = None) -> str:
    """The rows as Markdown."""
    rows = number_rows(system)
    return table(HEAD, [[row.what, row.paper, row.here, row.seeds, row.cost, f"`{row.results}`"] for row in rows])


@cache
def results_tables(path: Path) -> list[Table]:
    """The Markdown tables of a file, each a list of lines of cells, the head first and the rule left out."""
    found: list[Table] = [[]]
    for line in path.read_text().splitlines():
        if not line.startswith("|"):
            found.append([])
        elif not re.fullmatch(r"[|\s:-]+", line):
            found[-1].append([cell.strip().replace("**", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return [lines for lines in found if lines]


def seeds_of(path: Path) -> str:
    """The seeds that the file's head names, ``0, 1, 2``; nothing where it names none."""
    named = re.search(r"^- seeds?: \[?([\d, ]+)", path.read_text(), flags=re.MULTILINE)
    return named[1].strip(" ,") if named else ""


def _bracketed(system: str, path: Path) -> Iterator[NumberRow]:
    if not path.exists():
        yield NumberRow(system, WAITING, "–", "–", "", "", path.name)
        return
    for head, *lines in results_tables(path):
        costs = next((line for line in lines if line[0] == COST), [])
        for line in lines:
            for column, cell in list(enumerate(line))[1:]:
                parts = re.fullmatch(r"(.*?) \[(.*)\]", cell)
                if parts:
                    cost = f"{costs[column]} s a run" if costs else ""
                    what = f"{line[0]}: {head[column]}"
                    yield NumberRow(system, what, parts[2], parts[1], seeds_of(path), cost, path.name)


def _addressed(line: dict[str, str], results: Path) -> NumberRow:
    path = results / f"{line['results']}.md"
    here, seeds = WAITING, ""
    if path.exists():
        here, seeds = _cell(path, line["row"], line["column"]), line["seeds"] or seeds_of(path)
    cost = line["cost"]
    if path.exists() and cost.startswith("="):
        cost = f"{_cell(path, *cost[1:].split(' / '))} s a run"
    return NumberRow(line["system"], line["what"], line["paper"], here, seeds, cost, path.name)


def _cell(path: Path, row: str, column: str) -> str:
    for head, *lines in results_tables(path):
        if column in head:
            for line in lines:
                if line[0] == row:
                    return line[head.index(column)]
    raise LookupError(f"{path.name} has no table with the row {row!r} and the column {column!r}")
