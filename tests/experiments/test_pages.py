"""Pages in a browser: nothing complains, nothing is wider than the screen, nothing is closed to a reader."""

import io
import re
from pathlib import Path

import hydra
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments.assemble import assemble
from experiments.evaluation import evaluate
from experiments.jobs.single import write_pages
from experiments.publication import publish
from experiments.report import ReportFigure, Table, write_report
from ppvae.svi import fit
from tests.browser import PHONE, Browser

axe_core = pytest.importorskip("axe_core_python.base", reason="access is checked by axe-core-python, not installed")

pytestmark = pytest.mark.usefixtures("drawn")

SMALL = [
    *("network=mlp", "network.encoder.hidden=[16]", "network.decoder.hidden=[16]", "latents=3"),
    *("data.size=160", "data.image_size=32", "posterior.images=64", "posterior.draws=2", "posterior.ablation_images=8"),
    *("diagnosis.images=10", "diagnosis.draws=30", "diagnosis.simulations=20", "information.images=40"),
]
LARGEST = 2_000_000  # bytes of a page
AXE = "axe.run({}).then(found => found.violations.map(one => [one.id, one.nodes.map(node => node.html)]))"
BY_LOOK = "{runOnly: ['button-name', 'color-contrast', 'scrollable-region-focusable']}"  # what differs between screens
WIDEST = "Math.max(...[...document.images].map(image => image.getBoundingClientRect().width))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def pages(folder) -> dict[str, Path]:
    """A report and its diagnostics, of a pair of three epochs, and a study's page; written once."""
    found = {name: folder / f"{name}.html" for name in ("report", "diagnostics", "study")}
    if not all(page.is_file() for page in found.values()):
        write(folder)
    return found


def write(directory: Path) -> None:
    configuration = hydra.compose("config", SMALL)
    parts = assemble(configuration)
    options = {"epochs": 3, "validation": parts.validation, "seed": 0, "compile": False, "progress": False}
    history = fit(parts.model, parts.guide, parts.data, parts.objective, **options)
    write_pages(parts, history, evaluate(parts, configuration), configuration, directory)
    table = Table("Runs", ["metric", "here", "paper"], [["rate", "2.1 ± 0.1", 3.0], ["KL", "0.4 ± 0.2", None]], "Two.")
    words = {"title": "A study", "lead": "Two seeds.", "configuration": "a: 1", "facts": {"seed": "0"}}
    publish(directory, table=table, page="study", found=["One wins."], **words)


@pytest.mark.parametrize("name", ["report", "diagnostics", "study"])
def test_a_page_is_whole_on_every_screen_and_open_to_every_reader(browser, pages, name):
    """In the light on a wide screen, then in the dark on a phone, which enlarges the figures."""
    assert pages[name].stat().st_size < LARGEST
    browser.open(pages[name])
    assert browser.fits()
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert closed(browser) == []
    browser.look(PHONE, dark=True)
    assert browser.fits()
    assert closed(browser, BY_LOOK) == []
    if name != "study":  # which has no figures
        assert browser.run(WIDEST) <= PHONE
        browser.run("document.querySelectorAll('.enlarge').forEach(button => button.click())")
        assert browser.run(WIDEST) > 600
        assert browser.fits()
    assert browser.said == []


def closed(browser: Browser, rules: str = "{}") -> list[tuple[str, list[str]]]:
    """The rules of access that a page breaks, and where."""
    browser.run(f"if (!window.axe) {{ {axe_core.AXE_SCRIPT} }}")
    return browser.run(AXE.format(rules))


def test_the_check_of_access_finds_what_is_closed(browser, tmp_path):
    """Grey on grey, and a picture without words."""
    page = tmp_path / "closed.html"
    page.write_text("<title>a</title><p style='color:#aaa;background:#bbb'>words</p><img src='data:,'>")
    browser.open(page)
    assert {"color-contrast", "image-alt", "html-has-lang"} <= {name for name, _ in closed(browser)}
    assert [name for name, _ in closed(browser, BY_LOOK)] == ["color-contrast"]


def test_pictures_come_before_numbers_and_what_was_found_before_both(pages):
    page = pages["report"].read_text(encoding="utf-8")
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    wanted = ["What was found", "What failed", "Pictures", "Numbers", "Run it again"]
    assert [heading for heading in headings if heading in wanted] == wanted
    drawn = re.findall(r'<figure id="([^"]*)"', page)
    assert {"samples", "reconstructions", "elbo", "traversals"} <= set(drawn)


def test_figures_are_dark_where_the_page_is(browser, tmp_path):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], color="#123456")
    write_report(tmp_path, title="A", command="b", configuration="c", figures=[ReportFigure("line", "", figure)])
    browser.open(tmp_path / "report.html")
    tones = {}
    for dark in (False, True):
        browser.look(dark=dark)
        pixels = np.asarray(Image.open(io.BytesIO(browser.picture("img"))).convert("L"))
        tones[dark] = np.median(pixels), pixels.min(), pixels.max()
    paper, darkest, _ = tones[False]
    assert (paper, darkest) == (255, pytest.approx(0, abs=60))
    paper, _, lightest = tones[True]
    assert paper < 50
    assert lightest > 180


def test_tables_are_sorted_by_a_click_and_say_so(browser, tmp_path):
    rows = [["b", 2.5, "pass"], ["a", None, "fail, large"], ["c", -30_000.0, "warn"], ["d", 1e-5, "not run"]]
    table = Table("T", ["name", "size", "verdict"], rows)
    write_report(tmp_path, title="A", command="b", configuration="c", tables=[table])
    browser.open(tmp_path / "report.html")
    names = "[...document.querySelectorAll('tbody th')].map(cell => cell.textContent).join('')"

    def sorted_by(place: int) -> tuple[str, str]:
        browser.run(f"document.querySelectorAll('thead button')[{place}].click()")
        return browser.run(names), browser.run(
            f"document.querySelectorAll('thead th')[{place}].getAttribute('aria-sort')"
        )

    assert browser.run(names) == "bacd"
    assert sorted_by(0) == ("abcd", "ascending")
    assert sorted_by(0) == ("dcba", "descending")
    assert sorted_by(1) == ("bdca", "descending")  # numbers: the largest first, what is missing last
    assert sorted_by(1) == ("cdba", "ascending")
    assert sorted_by(2) == ("acbd", "ascending")  # the worst verdict first
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 1
