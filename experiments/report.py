"""One self-contained HTML page about a run: what was found, figures, tables, and how to make it again."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from ppvae.errors import UserError
from ppvae.files import replace_atomically

from .vector_figures import as_svg

__all__ = ["DPI", "ReportFigure", "Summary", "Table", "Value", "format_value", "write_report"]

DPI = 200  # of what a vector figure cannot hold as it is; twice what a reader's screen shows at the page's width
CSS_PIXELS_PER_INCH = 104
LONG_VALUE = 8
SENTENCE = 40  # characters of a cell that is broken over lines
UNQUOTED = " /:;,=()?+!$*@[]{}|^~`'\n"  # of an SVG in an address: a third shorter than base64
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
ICONS = {"fail": "✕", "warn": "!", "pass": "✓", "not run": "–"}  # of a cell that is, or begins with, a verdict

type Value = str | int | float | bool | None
type Summary = dict[str, Value | tuple[Value, str]]


@dataclass(frozen=True)
class Table:
    """Rows under named columns, the first naming the row; columns whose name starts with "paper" are set apart.

    ``notes``: what a column's or a row's name means. Cells of a column "verdict" are pass, warn, fail or not run, with
    words behind a comma or without.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    caption: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def as_markdown(self) -> str:
        """The columns and rows as a Markdown table; – for None."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "".join(
            "| " + " | ".join("–" if cell is None else str(cell) for cell in line) + " |\n" for line in lines
        )


class ReportFigure(NamedTuple):
    """A figure, its file name (letters, digits, - and _), what to look for in it, a title if not the name, and what is
    seen in it, for those who do not see it: by default the caption."""

    name: str
    caption: str
    figure: Figure
    title: str = ""
    alt: str = ""


def write_report(
    directory: str | Path,
    *,
    title: str,
    command: str,
    configuration: str,
    tables: Sequence[Table] = (),
    figures: Sequence[ReportFigure | tuple[str, str, Figure]] = (),
    summary: Mapping[str, Value | tuple[Value, str]] | None = None,
    found: Sequence[str] = (),
    failed: Sequence[str] = (),
    leading: Mapping[str, Sequence[Table]] | None = None,
    environment: Mapping[str, Value] | None = None,
    lead: str = "",
    page: str = "report",
    links: Mapping[str, str] | None = None,
    dpi: int = DPI,
) -> Path:
    """Writes `report.html` (images inside, nothing fetched) and `figures/<name>.svg`; returns the page.

    page: another file name, for a further page of the run; links: words → the page beside this one that they lead to;
    found, failed: sentences that come before all else; leading: heading → tables before the figures;
    summary: headline → number, or → (number, remark), e.g. (7, "paper: 7"); lead: a sentence or two under the title;
    environment: versions, machine, seed, commit; dpi: dots an inch of what a figure cannot hold as lines. Every text is
    escaped. Its script sorts tables and enlarges figures; all is shown without it. Files appear whole or not at all.
    UserError for a row that does not fit its columns, a figure name unfit for a file, or one used twice.
    """
    entries = [ReportFigure(*entry) for entry in figures]
    first = leading or {}
    _check([*(table for some in first.values() for table in some), *tables], [entry.name for entry in entries])
    target = Path(directory)
    (target / "figures").mkdir(parents=True, exist_ok=True)
    pictures = []
    for entry in entries:
        svg = _svg(entry.figure, dpi)
        _write(target / "figures" / f"{entry.name}.svg", svg)
        pictures.append(_picture(entry, svg))
    cards = [_card(name, value) for name, value in (summary or {}).items()]
    text = _template().render(
        title=title,
        lead=lead,
        links=links or {},
        cards=cards,
        leading={heading: [_table(table) for table in some] for heading, some in first.items()},
        tables=[_table(table) for table in tables],
        pictures=pictures,
        found=found,
        failed=failed,
        command=command.strip(),
        configuration=configuration.strip("\n"),
        environment={name: str(value) for name, value in (environment or {}).items()},
    )
    _write(target / f"{page}.html", text.encode())
    return target / f"{page}.html"


def format_value(value: Value) -> str:
    """A table's cell: text as it is, whole numbers in full, others to three or four digits, – for what is missing."""
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if isinstance(value, bool | np.bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return _typeset(f"{int(value):,}" if abs(value) >= 10_000 else f"{int(value)}")
    return _format_float(float(value))


def _format_float(value: float) -> str:
    if not math.isfinite(value):
        return "–" if math.isnan(value) else _typeset(f"{value}").replace("inf", "∞")
    size = abs(value)
    if size >= 10_000:
        return _typeset(f"{value:,.0f}")
    if 0 < size < 0.001:
        mantissa, exponent = f"{value:.1e}".split("e")
        return _typeset(f"{mantissa}e{int(exponent)}")
    decimals = next(places for bound, places in ((1000, 0), (100, 1), (1, 2), (0, 3)) if size >= bound)
    return _typeset(f"{value:.{decimals}f}")


def _typeset(text: str) -> str:
    return text.replace(",", "\u2009").replace("-", "−")


def _is_number(value: Value) -> TypeGuard[float]:
    return not isinstance(value, str) and value is not None


def _check(tables: Sequence[Table], names: Sequence[str]) -> None:
    for table in tables:
        for row in table.rows:
            if len(row) != len(table.columns):
                expected = f"{len(table.columns)} ({', '.join(table.columns)})"
                raise UserError(f"table {table.title!r}: got a row of {len(row)} cells, expected {expected}")
    for name in names:
        if not SAFE_NAME.fullmatch(name):
            raise UserError(f"figure name: got {name!r}, expected letters, digits, - and _ only")
        if names.count(name) > 1:
            raise UserError(f"figure name: got {name!r} twice, expected a name of its own for every figure")


def _card(name: str, value: Value | tuple[Value, str]) -> dict[str, str]:
    number, remark = value if isinstance(value, tuple) else (value, "")
    text = format_value(number)
    return {"name": name, "value": text, "remark": remark, "size": "long" if len(text) > LONG_VALUE else ""}


def _table(table: Table) -> dict[str, object]:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    kinds = [_column_kind(name, cells) for name, cells in zip(table.columns, columns, strict=True)]
    rows = [[_cell(name, cell) for name, cell in zip(table.columns, row, strict=True)] for row in table.rows]
    used = [*table.columns, *(row[0]["text"] for row in rows)]
    return {
        "title": table.title,
        "caption": table.caption,
        "columns": table.columns,
        "kinds": kinds,
        "rows": rows,
        "stacked": any("words" in kind for kind in kinds[1:]),  # on a narrow screen, cell under cell
        "notes": {name: table.notes.get(name, "") for name in used},
        "explained": [(name, table.notes[name]) for name in dict.fromkeys(used) if table.notes.get(name)],
    }


def _cell(column: str, value: Value) -> dict[str, Any]:
    """Its text, what it is sorted by if not the text, and of a verdict the icon."""
    text = format_value(value)
    if column == "verdict" and (kind := text.split(",")[0]) in ICONS:
        return {"text": text, "sort": list(ICONS).index(kind), "icon": ICONS[kind], "kind": kind.replace(" ", "-")}
    return {"text": text, "sort": float(value) if _is_number(value) else None, "icon": "", "kind": ""}


def _column_kind(name: str, cells: Sequence[Value]) -> str:
    """The CSS classes of a column: numbers stand at the right, the paper's are set apart, sentences are broken."""
    kinds = ["number"] * any(_is_number(cell) for cell in cells) + ["paper"] * name.lower().startswith("paper")
    kinds += ["words"] * any(isinstance(cell, str) and len(cell) > SENTENCE for cell in cells)
    return " ".join(kinds)


def _picture(entry: ReportFigure, svg: bytes) -> dict[str, object]:
    width, height = (round(inches * CSS_PIXELS_PER_INCH) for inches in entry.figure.get_size_inches())
    words = entry.name.replace("_", " ").replace("-", " ")
    heading = entry.title or words[:1].upper() + words[1:]
    return {
        "name": entry.name,
        "heading": heading,
        "caption": entry.caption,
        "alt": entry.alt or (f"{heading}. {entry.caption}" if entry.caption else heading),
        "data": quote(svg.decode(), safe=UNQUOTED),
        "width": width,
        "height": height,
    }


def _svg(figure: Figure, dpi: int) -> bytes:
    if dpi < DPI:  # a trial, for which nothing need be laid out
        figure.set_layout_engine("none")
    return as_svg(figure, dpi)


def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    safe: dict[str, Any] = {"autoescape": True, "undefined": StrictUndefined}
    environment = Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, **safe)
    return environment.get_template("report.html.j2")


def _write(path: Path, content: bytes) -> None:
    replace_atomically(path, lambda temporary: temporary.write_bytes(content))
