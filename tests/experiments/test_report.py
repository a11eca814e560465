"""A report is one page that needs nothing else and hides nothing it was given."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.report import ReportFigure, Table, format_value, write_report
from ppvae.errors import UserError

pytestmark = pytest.mark.usefixtures("drawn")

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Tags with their attributes, in order; checks that every opened tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] * (tag not in VOID)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def small_figure() -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return figure


def write(directory: Path, **changes: object) -> str:
    content = {
        "title": "A run",
        "command": "uv run -m experiments seed=3",
        "configuration": "prior:\n  latents: 15  # <script>alert('x')</script> & more\n",
        "tables": [
            Table("Table I", ["metric", "ours", "paper"], [["entropy", 2.3149, 2.3], ["latents", 7, 7]], "read")
        ],
        "figures": [("first", "Look <here>.", small_figure()), ReportFigure("second", "", small_figure(), "A title")],
        "summary": {"latents in use": (7, "paper: 7"), "ELBO": -36270.2},
        "found": ["a <note>"],
        "environment": {"seed": 12345678, "torch": "2.11"},
        "lead": "What it is.",
    } | changes
    return write_report(directory, **content).read_text()


def test_report_is_one_page_that_fetches_nothing(tmp_path: Path) -> None:
    text = write(tmp_path)
    page = Page(text)
    assert page.open == []
    links = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "srcset")]
    assert len(links) == 3  # two figures and the empty icon
    assert all(link.startswith("data:") for link in links)
    around, drawn = re.sub(r'src="[^"]*"', "", text), unquote(unescape("".join(re.findall(r'src="([^"]*)"', text))))
    assert not re.search(r"https?://|@import|url\(", around)
    assert set(re.findall(r'(?:href="|url\()(.)', drawn)) <= {"#"}
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [{}]  # its own, none from elsewhere


def test_report_holds_the_figures_and_writes_them(tmp_path: Path) -> None:
    text = write(tmp_path)
    pictures = [unquote(unescape(data)).encode() for data in re.findall(r"data:image/svg\+xml,([^\"]+)", text)]
    assert pictures == [(tmp_path / "figures" / f"{name}.svg").read_bytes() for name in ("first", "second")]
    assert all(picture.startswith(b"<?xml") for picture in pictures)
    assert "A title" in text
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "first.svg",
        "report.html",
        "second.svg",
    ]


def test_report_escapes_every_text(tmp_path: Path) -> None:
    text = write(tmp_path, title="a < b", command="run 'x' > y", lead="<i>", environment={"<k>": "<v>"})
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in text
    for escaped in (
        "a &lt; b",
        "x&#39; &gt; y",
        "a &lt;note&gt;",
        "Look &lt;here&gt;.",
        "&lt;i&gt;",
        "&lt;k&gt;",
        "&lt;v&gt;",
    ):
        assert escaped in text


def test_report_contains_what_it_was_given(tmp_path: Path) -> None:
    text = write(tmp_path)
    for expected in (
        "2.31",
        "2.30",
        ">7<",
        "paper: 7",
        "−36\u2009270",
        "seed=3",
        "12345678",
        "2.11",
        "What it is.",
        "read",
    ):
        assert expected in text


def test_report_of_the_bare_minimum_has_no_empty_sections(tmp_path: Path) -> None:
    page = write_report(tmp_path / "new" / "place", title="Bare", command="run", configuration="a: 1")
    text = page.read_text()
    assert Page(text).open == []
    for absent in ("<figure", "<table", "Notes", "Numbers", "Figures", 'class="card"'):
        assert absent not in text


def test_second_report_replaces_the_first_whole(tmp_path: Path) -> None:
    write(tmp_path, title="first title")
    text = write(tmp_path, title="second title")
    assert "first title" not in text
    assert text.rstrip().endswith("</html>")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        ("as is-it", "as is-it"),
        (True, "yes"),
        (np.False_, "no"),
        (7, "7"),
        (np.int64(-15), "−15"),
        (50_000, "50\u2009000"),
        (2.3149, "2.31"),
        (np.float32(0.5), "0.500"),
        (123.456, "123.5"),
        (-36270.2, "−36\u2009270"),
        (1.3e-5, "1.3e−5"),
        (0.0, "0.000"),
        (float("-inf"), "−∞"),
    ],
)
def test_values_are_set_for_reading(value: object, text: str) -> None:
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tables": [Table("T", ["a", "b"], [[1]])]}, "table 'T': got a row of 1 cells, expected 2"),
        ({"figures": [("../up", "", Figure())]}, "figure name: got '../up'"),
        ({"figures": [("a", "", Figure()), ("a", "", Figure())]}, "got 'a' twice"),
    ],
)
def test_wrong_input_writes_nothing(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        write(tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
