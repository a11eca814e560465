"""A line about a choice is its file's first sentence, or the first of what it names."""

import subprocess
import sys

import pytest

from experiments.descriptions import described


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# Dense layers. And more.\nencoder: 1\n", "Dense layers"),
        (
            "# @package _global_\n# A study of\n# two lines: does it pay? It does.\njob: a\n",
            "A study of two lines: does it pay?",
        ),
        (
            "# Several, ``workers`` at a time, by :class:`~ppvae.UserError`\n",
            "Several, workers at a time, by UserError",
        ),
        ("_target_: ppvae.priors.NormalPrior  # no comment of its own\n", "p(z) = N(0, I)"),
        ("_target_: ppvae.UserError\n", "A user's mistake: one line"),
        ("_target_: experiments.pairs.one_view\n", "One code of an image"),
        ("_target_: ppvae.priors.Nothing\n", ""),
        ("size: 3\n", ""),
    ],
)
def test_the_first_sentence_says_what_it_is(tmp_path, text, line):
    path = tmp_path / "choice.yaml"
    path.write_text(text)
    assert described(path).startswith(line)
    assert bool(described(path)) == bool(line)


def test_nothing_of_what_is_named_is_imported():
    script = (
        "import sys; from pathlib import Path; from experiments.listing import CONF, print_list; print_list(['prior']);"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "q(z | u_k)" in done.stdout
