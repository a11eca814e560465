"""The dialect of our docstrings as reStructuredText.

A docstring is prose with ``code`` and :class:`roles`, bullets of ``-``, and paragraphs that a label begins: Shapes,
Errors, Source. Nothing else in it is markup: q(z | x), ``*`` and a name's last underscore are what they are.
"""

import re
from collections.abc import Iterable

__all__ = ["as_rst"]

MARKUP = re.compile(r"(``.+?``|:[a-z:]+:`[^`]+`)", re.DOTALL)
LABEL = re.compile(r"(Shapes|Errors|Sources?|Units|Returns)((?: [^.:]{1,20})?): (.*)")


def as_rst(docstring: Iterable[str]) -> list[str]:
    """Its lines, with what would be markup escaped and each labelled paragraph a field."""
    return _fields(_escaped("\n".join(docstring)).split("\n"))


def _escaped(text: str) -> str:
    parts = MARKUP.split(text)
    parts[::2] = [re.sub(r"[\\*|_`]", r"\\\g<0>", plain) for plain in parts[::2]]
    return "".join(parts)


def _fields(lines: Iterable[str]) -> list[str]:
    found: list[str] = []
    inside = False
    for line in lines:
        label = LABEL.fullmatch(line)
        if label:
            found += [*([] if inside or not found or not found[-1] else [""]), f":{label[1]}{label[2]}: {label[3]}"]
            inside = True
        elif not line.strip():
            found.append(line)
            inside = False
        else:
            found.append(f"   {line}" if inside else line)
    return found
