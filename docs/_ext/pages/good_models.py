"""What good models reach, read from the table that reports read."""

from experiments.reached import Reached, reached_rows
from pages.tables import table

__all__ = ["reached_table"]


def reached_table(data: str) -> str:
    """The rows of one data set as Markdown, tests down, kinds of decoder across."""
    rows = [row for row in reached_rows() if row["data"] == data]
    kinds, tests = (list(dict.fromkeys(row[name] for row in rows)) for name in ("decoder", "test"))
    cells = {(row["test"], row["decoder"]): Reached.of(row).said() for row in rows}
    sources = {kind: _source(rows, kind) for kind in kinds}
    head = ["test", *(f"{kind}; {sources[kind]}" for kind in kinds)]
    return table(head, [[test, *(cells.get((test, kind), "–") for kind in kinds)] for test in tests])


def _source(rows: list[dict[str, str]], kind: str) -> str:
    """How many runs, draws of each image, and the page."""
    of = {(row["runs"], row["draws"], row["source"]) for row in rows if row["decoder"] == kind}
    return ", ".join(f"runs: {runs}, draws: {draws}, `{source}.md`" for runs, draws, source in sorted(of))
