"""Pages: links lead somewhere, every page is in the tree, each system's page has the one form."""

import re
from pathlib import Path

import pytest
from pages.systems import SYSTEMS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
FORM = [
    "What it is",
    "When to use it, when not",
    "Generative process",
    "Sites",
    "Objective",
    "Training recipe",
    "Numbers",
    "References",
]


def named(path):
    return path.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda path: path.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert lost == []


def test_every_page_is_in_the_tree():
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for tree in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            waiting += [page.parent / f"{name}.md" for name in names]
    assert sorted(map(named, reached)) == sorted(map(named, PAGES))


def test_each_system_has_the_one_form():
    pages = [page for page in PAGES if page.parent.name == "systems" and page.stem != "index"]
    assert len(pages) == 6
    for page in pages:
        assert re.findall(r"^## (.*)$", page.read_text(), flags=re.MULTILINE) == FORM, page.name


def test_every_small_pair_stands_on_a_page():
    shown = [name for page in PAGES for name in re.findall(r"```{sites} (\w+)", page.read_text())]
    assert sorted(shown) == sorted(SYSTEMS)


def test_results_that_pages_name_are_there():
    results = ROOT / "experiments/results"
    named_files = {
        name for page in PAGES for name in re.findall(r"`(?:experiments/results/)?(\w+\.md)`", page.read_text())
    }
    assert {name for name in named_files if not (results / name).exists()} <= {"semi_supervised_mnist.md"}
