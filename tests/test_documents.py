"""The version and the names that documents give are those of the code."""

import re
from pathlib import Path

import yaml

import ppvae

ROOT = Path(__file__).parents[1]


def test_documents_tell_the_version_of_the_package():
    latest = re.search(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert latest[1] == ppvae.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == ppvae.__version__


def test_a_citation_has_what_the_format_asks_for():
    """Citation File Format 1.2.0: these keys are required, and an author has a name."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert all({"name", "family-names"} & set(author) for author in citation["authors"])


def test_what_contributors_are_sent_to_is_there():
    named = re.findall(r"`((?:\.venv|ppvae|experiments|tests)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 4
    assert all((ROOT / name).exists() for name in named if not name.startswith(".venv"))
