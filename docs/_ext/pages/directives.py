"""What Sphinx learns for these pages: directives for sites, numbers, scripts and names, and to read our docstrings."""

import importlib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pages.docstrings import as_rst
from pages.names import name_table
from pages.numbers import number_table
from pages.scripts import as_markdown
from pages.sites import site_table
from pages.systems import SYSTEMS

__all__ = ["setup"]


class Sites(SphinxDirective):
    """The table of sites of a system's small pair."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(site_table(SYSTEMS[self.arguments[0]]()))


class Numbers(SphinxDirective):
    """The papers' numbers beside ours, of one system or of all."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(number_table(*self.arguments))


class Script(SphinxDirective):
    """A tutorial's script, as text and code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / self.arguments[0]
        self.env.note_dependency(path)
        return self.parse_text_to_nodes(as_markdown(path), allow_section_headings=True)


class Names(SphinxDirective):
    """The short names of a package, each with a link to where it is described."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(name_table(importlib.import_module(self.arguments[0])))


def _read_docstring(app: Sphinx, what: str, name: str, described: object, options: object, lines: list[str]) -> None:
    del app, what, name, described, options
    lines[:] = as_rst(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("sites", Sites)
    app.add_directive("numbers", Numbers)
    app.add_directive("script", Script)
    app.add_directive("names", Names)
    app.connect("autodoc-process-docstring", _read_docstring)
    return {"parallel_read_safe": True}
