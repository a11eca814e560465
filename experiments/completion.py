"""Shell completion of ``ppvae``: subcommands, and of ``ppvae train`` what Hydra completes."""

import os
from collections.abc import Sequence

from .own_names import named
from .subcommands import HYDRA, SUBCOMMANDS

__all__ = ["complete"]

QUERY = "query="


def complete(words: Sequence[str]) -> None:
    """Answer ``ppvae --shell-completion WORDS`` as Hydra's flag of that name: ``install=bash``, ``query=bash``.

    The script that a shell installs is Hydra's own, which asks ``ppvae`` with the line so far in ``COMP_LINE``.
    """
    if not any(word.startswith(QUERY) for word in words):
        _hydra(words)
        return
    line = os.environ.get("COMP_LINE", "")
    before = line.split()[1:]
    if before and not line[-1].isspace():
        before.pop()  # the word that is to be completed
    if not before:
        _print(list(SUBCOMMANDS), words)
    elif before[0] in SUBCOMMANDS:
        _of_subcommand(before, line, words)


def _of_subcommand(before: Sequence[str], line: str, words: Sequence[str]) -> None:
    name, *after = before
    offered = SUBCOMMANDS[name].offered
    if offered == HYDRA:
        _, _, *rest = line.split(maxsplit=2)
        os.environ["COMP_LINE"] = " ".join(["ppvae", *(rest or [""])])
        _hydra(words)
    elif offered:
        _print(named(offered)(after), words)


def _hydra(words: Sequence[str]) -> None:
    named("experiments.command.train")(["--shell-completion", *words])


def _print(offered: Sequence[str], words: Sequence[str]) -> None:
    print(("\n" if f"{QUERY}fish" in words else " ").join(offered))
