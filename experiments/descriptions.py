"""One line about a choice: the first sentence of its file or of the class it names, which is read, not imported."""

import ast
import re
from importlib.util import find_spec, resolve_name
from pathlib import Path

import yaml

from .own_names import importable

__all__ = ["described"]

PACKAGE = "# @package"
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
MARKS = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`|``(.*?)``")


def described(path: Path) -> str:
    """The first sentence of the comment that a configuration begins with or, without one, of its ``_target_``'s
    docstring; empty where there is neither."""
    text = path.read_text(encoding="utf-8")
    said = _comment(text) or _docstring((yaml.safe_load(text) or {}).get("_target_", ""))
    plain = MARKS.sub(lambda found: found[1] or found[2], said)
    return SENTENCE.split(plain)[0].removesuffix(".")


def _comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith(PACKAGE):
            lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


def _docstring(name: str) -> str:
    """The first paragraph about a class or function, followed through the packages that hand it on."""
    module, _, attribute = importable(name).rpartition(".")
    if not module:
        return ""
    for node in ast.parse(_source(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            paragraph = (ast.get_docstring(node) or "").partition("\n\n")[0]
            return " ".join(paragraph.split())
        if isinstance(node, ast.ImportFrom) and attribute in [alias.name for alias in node.names]:
            return _docstring(f"{resolve_name('.' * node.level + (node.module or ''), module)}.{attribute}")
    return ""


def _source(module: str) -> Path:
    """The file of a module, or the stub of a package that imports its names when they are used."""
    root, *parts = module.split(".")
    found = find_spec(root)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no package {root!r}", name=root)
    path = Path(found.origin).parent.joinpath(*parts)
    files = (path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py"))
    return next(file for file in files if file.is_file())
