"""A job's one table: as Markdown to keep beside other results, on a page, and on the terminal."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ppvae.files import replace_atomically

from .provenance import as_markdown, command_line
from .report import ReportFigure, Table, write_report

__all__ = ["publish"]


def publish(
    directory: Path,
    *,
    title: str,
    lead: str,
    table: Table,
    configuration: str,
    facts: Mapping[str, str],
    figures: Callable[[], Sequence[ReportFigure]] = tuple,
    more: Sequence[Table] = (),
    found: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
    page: str = "report",
) -> Path:
    """Write ``table.md`` and ``report.html`` into ``directory``, print the table; returns the page.

    ``more``: tables that stand on the page alone; ``found``, ``links``: as a report's; ``page``: another name for it.
    ``facts``: data, seed, versions, machine; the command is added. ``configuration``: YAML.
    ``figures`` draws them once the table is written, so that a figure that fails loses no numbers.
    """
    asked = as_markdown({"command": f"`{command_line()}`", **facts})
    text = f"# {title}\n\n{asked}\n\n{table.caption}\n\n{table.as_markdown()}"
    replace_atomically(directory / "table.md", lambda path: path.write_text(text))
    written = write_report(
        directory,
        title=title,
        lead=lead,
        command=command_line(),
        configuration=configuration,
        leading={"Result": [table]},
        tables=more,
        figures=figures(),
        found=found,
        links=links,
        environment=facts,
        page=page,
    )
    print(table.as_markdown(), *found, f"Report: {written}", sep="\n")
    return written
