"""What Sphinx learns for these pages: directives for sites, numbers, scripts, names; our docstrings."""

import importlib
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import signature, stringify_signature

import ppvae
from pages.docstrings import as_rst
from pages.good_models import reached_table
from pages.names import homes, name_table
from pages.numbers import number_table
from pages.scripts import as_markdown
from pages.sites import site_table
from pages.systems import SYSTEMS
from ppvae.described import Described

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


class GoodModels(SphinxDirective):
    """What good models of a data set reach in the diagnostics."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(reached_table(self.arguments[0]))


class Script(SphinxDirective):
    """A tutorial's script, as text and code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / self.arguments[0]
        self.env.note_dependency(path)
        printed = path.with_suffix(".txt").read_text()
        text = f"{as_markdown(path)}\n\n## What it prints\n\n```text\n{printed}```\n"
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class Names(SphinxDirective):
    """The short names of a package, each with a link to where it is described."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(name_table(importlib.import_module(self.arguments[0])))


def _read_docstring(app: Sphinx, what: str, name: str, described: object, options: object, lines: list[str]) -> None:
    del app, what, name, described, options
    lines[:] = as_rst(lines)


def _constructor(
    app: Sphinx, what: str, name: str, described: type, options: object, given: str, returned: str
) -> tuple[str, str] | None:
    """What a class is built with, where ``Described.__new__`` or ``nn.Module`` hide it; a class returns no None."""
    del app, name, options, returned
    if what != "class":
        return None
    if issubclass(described, Described):
        given = stringify_signature(signature(described.__init__, bound_method=True), unqualified_typehints=True)
    return given.removesuffix(" -> None"), ""


def _short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element) -> nodes.Element | None:
    """``ppvae.fit`` leads to where ``fit`` is described."""
    name = node.get("reftarget", "").removeprefix("ppvae.")
    home = homes(ppvae).get(name)
    if node.get("refdomain") != "py" or home is None:
        return None
    target = f"{home}.{name}"
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("sites", Sites)
    app.add_directive("numbers", Numbers)
    app.add_directive("good_models", GoodModels)
    app.add_directive("script", Script)
    app.add_directive("names", Names)
    app.connect("autodoc-process-docstring", _read_docstring)
    app.connect("autodoc-process-signature", _constructor)
    app.connect("missing-reference", _short_name)
    return {"parallel_read_safe": True}
