"""Cells and sentences of tables over several runs."""

from collections.abc import Sequence

import pandas as pd

from ppvae.nouns import Noun, described_as

__all__ = ["listed", "mean_and_deviation", "noun_of_runs", "surrogate_sentence"]

MOST = 12  # names in a sentence


def mean_and_deviation(values: pd.Series) -> str | None:
    """``mean ± standard deviation`` of what is known, the mean alone of one value, None of none."""
    values = values.dropna()
    if values.empty:
        return None
    whole = (values == values.round()).all()
    largest = values.abs().max()
    digits = 0 if largest >= 1000 or (whole and values.nunique() == 1) else 1 if whole else 2 if largest >= 1 else 3
    deviation = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{deviation}"


def listed(names: Sequence[str]) -> str:
    """The names, or the first dozen of them and how many more."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def noun_of_runs(runs: pd.DataFrame) -> Noun:
    """What the data of all runs are of, by the descriptions in their column ``data``."""
    return described_as(*(runs["data"].dropna() if "data" in runs else ()))


def surrogate_sentence(runs: pd.DataFrame, name: str) -> str:
    """Which of the runs, by the column ``name``, have numbers of a surrogate; nothing where none has."""
    units = runs.get("units", pd.Series(index=runs.index, dtype=object)).dropna()
    marked = list(map(str, runs.loc[units.index[units != "nats"], name].unique()))
    return (
        f" {listed(marked)}: surrogate nats, of a likelihood that is no density of these {noun_of_runs(runs).pixels}."
        if marked
        else ""
    )
