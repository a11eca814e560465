"""Tutorials run, at small size, and draw their figures; a script becomes text and code and loses nothing."""

import re
from pathlib import Path

import pytest
from pages.scripts import as_markdown

TUTORIALS = Path(__file__).parents[2] / "docs/tutorials"
SCRIPTS = sorted(TUTORIALS.glob("*.py"))
SCRIPT = '''"""# Title

What it is.
"""

import os

# ## Part
#
# Some text.

x = 1  # beside
# above
y = 2


def f():
    """Doc."""

    return os, x, y

# ![figure](figures/a.png)
'''


def test_there_are_five_each_with_a_page_and_what_it_prints():
    assert len(SCRIPTS) == 5
    for script in SCRIPTS:
        assert script.with_suffix(".md").read_text() == f"```{{script}} tutorials/{script.name}\n```\n"
        assert script.with_suffix(".txt").read_text()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_draws_its_figures(script, tmp_path, forked):
    text, found = re.subn(r"^(.*) = .*?  # in the tests: (.*)$", r"\1 = \2", script.read_text(), flags=re.MULTILINE)
    assert found == 1
    text = text.replace("progress=False", "progress=False, compile=False")
    (tmp_path / "figures").mkdir()
    done = forked(tmp_path, text)
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    shown = set(re.findall(r"\(figures/(.*?)\)", text))
    assert drawn == shown
    assert all((TUTORIALS / "figures" / name).is_file() for name in shown)


def test_comments_at_the_margin_are_text_and_statements_code(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert as_markdown(path) == "\n\n".join(
        [
            "# Title\n\nWhat it is.",
            "```python\nimport os\n```",
            "## Part\n\nSome text.",
            '```python\nx = 1  # beside\n# above\ny = 2\n\ndef f():\n    """Doc."""\n\n    return os, x, y\n```',
            "![figure](figures/a.png)",
        ]
    )
