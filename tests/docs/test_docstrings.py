"""Docstrings: one dialect, as reStructuredText, and one for every public name."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from pages.docstrings import as_rst
from pages.names import homes

import guides
import ppvae

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("ppvae", "guides") for path in sorted((ROOT / folder).rglob("*.py"))]
PACKAGES = ["guides", *(f"ppvae.{module.name}" for module in pkgutil.iter_modules(ppvae.__path__) if module.ispkg)]
SINGLE = re.compile(r"(?<![`:\w])`[^`]+`(?![`_])")


def docstrings(path):
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, nodes)]


@pytest.mark.parametrize("folder", ["ppvae", "guides"])
def test_code_is_between_double_backticks_and_errors_have_their_label(folder):
    strange = [
        (path.name, found)
        for path in SOURCES
        if folder in path.parts
        for text in docstrings(path)
        for found in [*SINGLE.findall(text), *re.findall(r"Raises \w+|^(?:Args|Parameters):", text, flags=re.MULTILINE)]
    ]
    assert strange == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_says_what_it_is(package):
    module = importlib.import_module(package)
    described = [getattr(module, name) for name in module.__all__]
    silent = [d.__name__ for d in described if inspect.isroutine(d) or inspect.isclass(d) if not inspect.getdoc(d)]
    assert silent == []


def test_every_package_has_a_page():
    pages = {path.stem for path in (ROOT / "docs/api").glob("*.md")}
    assert {package.removeprefix("ppvae.") for package in PACKAGES} <= pages
    assert guides.__all__


def test_short_names_lead_to_where_they_are_described():
    found = homes(ppvae)
    assert found["VAE"] == "ppvae.models"
    assert found["fit"] == "ppvae.svi"
    assert found["UserError"] == "ppvae.errors"
    assert {name for name, home in found.items() if home == "ppvae"} == {"load"}


def test_densities_and_names_are_no_markup():
    plain = ["q(z|x) of |KL − C|, *batch and kl_ of log q_", "", "``a * b`` and :class:`~ppvae.VAE`"]
    assert as_rst(plain) == [
        r"q(z\|x) of \|KL − C\|, \*batch and kl\_ of log q\_",
        "",
        "``a * b`` and :class:`~ppvae.VAE`",
    ]


def test_labels_become_fields_of_their_own_paragraph():
    lines = ["One.", "Shapes: z (image,", "latent).", "Source: Kingma 2014.", "", "Two.", "Shapes as for :func:`f`."]
    assert as_rst(lines) == [
        "One.",
        "",
        ":Shapes: z (image,",
        "   latent).",
        ":Source: Kingma 2014.",
        "",
        "Two.",
        "Shapes as for :func:`f`.",
    ]
