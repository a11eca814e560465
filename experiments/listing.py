"""``ppvae list``: the groups of the configuration and their choices, a line each, without importing what they name."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ppvae.errors import UserError

from .descriptions import described
from .subcommands import nearest

__all__ = ["SECTIONS", "choices", "names", "print_list"]

CONF = Path(__file__).parent / "conf"
WIDTH = 100
METRICS = "metrics"
OF_METRICS = "the columns of a sweep's table, by sweep.metrics"

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Data": {
        "data": "images or rows: drawn with known factors, published, or files of your own",
    },
    "The pair": {
        "prior": "p(z)",
        "likelihood": "p(x | z)",
        "guide": "q(z | x)",
        "network": "what encodes and decodes",
        "model": "how these make a pair; auxiliary, condition and labels choose it",
        "clusters": "q(cluster | x), with prior=cluster",
        "condition": "p(x | z, y): what is given with each image",
        "labels": "a label known of some images, summed out of the others",
        "auxiliary": "two codes, of which one must explain a view of the image",
    },
    "Training": {
        "objective": "what is maximised",
        "penalty": "added to any objective",
        "annealing": "of any objective: how the rate's weight grows",
        "recipe": "optimiser, schedule, averages, precision",
        "trainer": "epochs, batches, devices",
        "trainer/stopping": "when a training ends early",
        "select": "too many latents first, then those that pay",
    },
    "Whole experiments": {
        "experiment": "studies, tables of papers, the demo",
        "launcher": "what runs the members of a sweep or a study",
    },
}
"""Every group of the configuration, with what it chooses."""


def print_list(words: Sequence[str]) -> None:
    """Print all groups with their choices, the choices of a group, what a choice is, or the metrics of a sweep.

    Errors: :class:`~ppvae.UserError` for a word that names neither a group nor a choice.
    """
    if not words:
        print("\n\n".join(_section(title, groups) for title, groups in SECTIONS.items()))
        print(f"\nTables\n  metrics: {OF_METRICS}; ppvae list metrics")
    for word in words:
        print(_of_word(word))


def names(words: Sequence[str]) -> list[str]:
    """What may follow ``ppvae list``: groups, or metrics, and once."""
    return [] if words else [*_groups(), METRICS]


def choices(group: str) -> list[str]:
    """Its choices by name."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def _groups() -> dict[str, str]:
    return {group: does for groups in SECTIONS.values() for group, does in groups.items()}


def _section(title: str, groups: Mapping[str, str]) -> str:
    return "\n".join([title, *(_group(group, does) for group, does in groups.items())])


def _group(group: str, does: str) -> str:
    listed = textwrap.fill(", ".join(choices(group)), WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  {group}: {does}\n{listed}"


def _of_word(word: str) -> str:
    groups = _groups()
    if word == METRICS:
        return _metrics()
    if word in groups:
        return _of_group(word, groups[word])
    of = [group for group in groups if word in choices(group)]
    if of:
        return "\n".join(f"{group}={word}: {_described(group, word)}" for group in of)
    known = [*groups, METRICS, *(choice for group in groups for choice in choices(group))]
    raise UserError(f"there is no group or choice {word}; {nearest(word, known, 'ppvae list lists them')}")


def _of_group(group: str, does: str) -> str:
    known, chosen = choices(group), _defaults().get(group)
    width = max(map(len, known))
    lines = [f"  {choice:{width}}  {_described(group, choice)}" for choice in known]
    usual = f"{chosen} unless another is chosen" if chosen else "none unless one is chosen"
    return "\n".join([f"{group}: {does}; {usual}", *lines, f"ppvae train {group}=CHOICE"])


def _metrics() -> str:
    from .sweeps.page import METRICS as KNOWN  # here: it imports torch
    from .sweeps.page import labels_of

    width = max(map(len, KNOWN))
    lines = [f"  {name:{width}}  {label}" for name, label in labels_of(KNOWN).items()]
    return "\n".join([f"metrics: {OF_METRICS}", *lines, "ppvae train --multirun sweep.metrics=[rate,mig] …"])


def _described(group: str, choice: str) -> str:
    return described(CONF / group / f"{choice}.yaml")


def _defaults() -> dict[str, str | None]:
    """The choice of each group in the main configuration, and in those it chooses."""
    found: dict[str, str | None] = {}
    for folder, name in (("", "config"), ("trainer/", "trainer/default")):
        for entry in yaml.safe_load((CONF / f"{name}.yaml").read_text())["defaults"]:
            found |= {f"{folder}{key}": value for key, value in entry.items()} if isinstance(entry, dict) else {}
    return found
