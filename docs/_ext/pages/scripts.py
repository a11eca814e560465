"""A tutorial's script as a page: its comments are the text, its statements the code between them."""

import re
from pathlib import Path

__all__ = ["as_markdown"]


def as_markdown(path: Path) -> str:
    """Paragraphs of comments at the margin become Markdown, the lines between them blocks of Python.

    A paragraph of comments stands between blank lines; a comment above or beside a statement stays with it.
    """
    docstring, _, rest = path.read_text().removeprefix('"""').partition('"""\n')
    parts = [_part(text) for text in re.split(r"\n\n+(?=\S)", rest) if text.strip()]
    merged: list[tuple[bool, str]] = []
    for prose, text in parts:
        if merged and merged[-1][0] == prose:
            merged[-1] = (prose, f"{merged[-1][1]}\n\n{text}")
        else:
            merged.append((prose, text))
    return "\n\n".join([docstring.strip(), *(text if prose else f"```python\n{text}\n```" for prose, text in merged)])


def _part(text: str) -> tuple[bool, str]:
    """Whether it is prose, and what it says."""
    lines = text.strip("\n").splitlines()
    prose = all(line.startswith("#") for line in lines)
    return prose, "\n".join(line.removeprefix("#").removeprefix(" ") if prose else line for line in lines)
