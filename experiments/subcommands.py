"""The command ``ppvae``: its subcommands, each imported when it is called."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ppvae.errors import UserError

from .endings import ended_in_one_line
from .own_names import named
from .signals import obey_signals

__all__ = ["HYDRA", "SUBCOMMANDS", "Subcommand", "main", "nearest"]


@dataclass(frozen=True)
class Subcommand:
    """What it does, in a line; the words that may follow, for the help; the function that is called with these.

    ``offered``: what a shell may complete: a function of the words before, or what Hydra says; None: files.
    """

    does: str
    words: str
    function: str
    offered: str | None = None


HYDRA = "hydra"
SUBCOMMANDS: Mapping[str, Subcommand] = {
    "demo": Subcommand(
        "how many latents do sprites need? two models side by side, in minutes",
        "[WORDS]",
        "experiments.command.demo",
        offered=HYDRA,
    ),
    "train": Subcommand(
        "train a pair; its report, numbers and posterior into a folder of its own",
        "[WORDS]",
        "experiments.command.train",
        offered=HYDRA,
    ),
    "explore": Subcommand(
        "a finished run's codes by hand: sliders, a map and animations, in a browser",
        "RUN [FLAGS]",
        "experiments.explorer.command.main",
    ),
    "list": Subcommand(
        "groups and their choices, one line each",
        "[GROUP]",
        "experiments.listing.print_list",
        offered="experiments.listing.names",
    ),
    "encode": Subcommand(
        "the latents of images under a finished run's pair, as a table",
        "RUN IMAGES [--out FILE.csv]",
        "experiments.finished.command.encode",
    ),
    "sample": Subcommand(
        "draws of a finished run's model",
        "RUN -n N --out FILE.png",
        "experiments.finished.command.sample",
    ),
    "score": Subcommand(
        "log p(x) of images, and how rare it is among the training images",
        "RUN IMAGES [--out FILE.csv]",
        "experiments.finished.command.score",
    ),
    "reconstruct": Subcommand(
        "images redrawn from their codes",
        "RUN IMAGES --out FILE.png",
        "experiments.finished.command.reconstruct",
    ),
    "export": Subcommand(
        "a finished run as safetensors with a model card",
        "RUN FOLDER [--license NAME]",
        "experiments.finished.command.export",
    ),
}


def main() -> None:
    """Run ``ppvae WORDS`` of ``sys.argv``; a user's mistake or a signal ends in one line and an exit code."""
    obey_signals()  # before what takes seconds to import
    with ended_in_one_line():
        try:
            _run(sys.argv[1:])
            sys.stdout.flush()
        except BrokenPipeError:  # what reads it, as head does, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end


def _run(words: Sequence[str]) -> None:
    first = words[0] if words else "--help"
    if first in ("--help", "-h", "help"):
        named("experiments.help_page.print_help")()
    elif first == "--version":
        named("experiments.help_page.print_version")()
    elif first in ("--shell-completion", "-sc"):
        named("experiments.completion.complete")(words[1:])
    elif first in SUBCOMMANDS:
        named(SUBCOMMANDS[first].function)(list(words[1:]))
    elif "=" in first:
        raise UserError(f"there is no command {first}; did you mean ppvae train {first}?")
    else:
        raise UserError(f"there is no command {first}; {nearest(first, SUBCOMMANDS, 'ppvae --help lists them')}")


def nearest(word: str, known: Sequence[str] | Mapping[str, object], otherwise: str) -> str:
    """What to say of a word that nothing is named by: the name next to it or, where none is near, ``otherwise``."""
    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
