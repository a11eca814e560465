"""A table of labels and measures beside pictures, joined by the names of their files."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import PurePosixPath
from typing import Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr

from ppvae.datasets.columns import factors_of
from ppvae.datasets.frames import read_frame
from ppvae.datasets.image_files import listed
from ppvae.errors import UserError, check_choice

__all__ = ["Unlabelled", "joined"]

logger = logging.getLogger(__name__)

Unlabelled = Literal["refuse", "drop", "keep"]

WITHOUT = "unlabelled"
"""The level of a picture that is kept without a label."""

_SPELT: dict[str, Callable[[str], str]] = {  # how a table may name a picture, the most exact first
    "path": lambda name: PurePosixPath(name.replace("\\", "/")).as_posix(),
    "file name": lambda name: PurePosixPath(name.replace("\\", "/")).name,
    "name without ending": lambda name: PurePosixPath(name.replace("\\", "/")).stem,
}


def joined(
    names: Sequence[str],
    table: str | PathLike[str],
    join: str | None = None,
    columns: Sequence[str] | None = None,
    unlabelled: Unlabelled = "refuse",
) -> tuple[np.ndarray, dict[str, xr.DataArray]]:
    """Which of the pictures of these names have a row in the table, (n,) positions, and its columns as their factors.

    Rows are found by path, by file name or by name without ending, whichever finds most. Rows of no picture are logged.
    ``unlabelled``: pictures without a row are refused, dropped, or kept: then they, and those whose entry is empty,
    have the level ``unlabelled`` in columns of levels.
    Errors: :class:`~ppvae.errors.UserError` for a file that is no CSV or Parquet table, a column that there is not or
    that cannot be a factor, two rows of one picture, and, unless ``unlabelled`` drops them, pictures without a row,
    which it lists.
    """
    check_choice("unlabelled", unlabelled, get_args(Unlabelled))
    text, typed = read_frame(table, text=True), read_frame(table)
    for column in (*(() if join is None else (join,)), *(columns or ())):
        if column not in typed:
            raise UserError(f"{str(table)!r} has no column {column!r}: name one of {', '.join(map(str, typed))}")
    key, spelling = _key(names, text, join, table)
    row_of = _rows(text[key], spelling, table)
    spelt = [_SPELT[spelling](name) for name in names]
    _check_apart(spelt, row_of, spelling, table)
    kept = np.array([place for place, name in enumerate(spelt) if name in row_of], dtype=np.int64)
    _say_missing(names, kept, unlabelled, table)
    unused = [name for name in row_of if name not in set(spelt)]
    if unused:
        logger.warning("%s: %d rows name no picture: %s", table, len(unused), listed(unused))
    if unlabelled == "keep":
        kept = np.arange(len(names))
    rows = typed.reindex([row_of.get(spelt[place], -1) for place in kept])
    whole = _filled if unlabelled == "keep" else pd.Series.to_numpy
    measured = {str(name): whole(rows[name]) for name in typed if name != key}
    return kept, factors_of(measured, len(kept), columns, repr(str(table)))


def _filled(column: pd.Series) -> np.ndarray:
    """The levels' names with :data:`WITHOUT` in the gaps, whole numbers among floats as such; without gaps as it is."""
    if not column.isna().any():
        return column.to_numpy()
    return column.convert_dtypes().astype("string").fillna(WITHOUT).to_numpy(dtype=object)


def _key(names: Sequence[str], text: pd.DataFrame, join: str | None, table: str | PathLike[str]) -> tuple[str, str]:
    """The column and the spelling by which most pictures have a row; UserError where none has."""
    wanted = {spelling: {spell(name) for name in names} for spelling, spell in _SPELT.items()}
    found = {
        (column, spelling): len(wanted[spelling].intersection(map(spell, text[column])))
        for column in (text if join is None else [join])
        for spelling, spell in _SPELT.items()
    }
    best = max(found, key=found.__getitem__, default=None)
    if best is None or not found[best]:
        where = "no column" if join is None else f"the column {join!r} does not"
        raise UserError(
            f"{str(table)!r}: {where} name{'s' if join is None else ''} a picture; the first is {names[0]!r}: give its"
            " file names in a column"
        )
    return best


def _rows(keys: Sequence[str], spelling: str, table: str | PathLike[str]) -> dict[str, int]:
    spelt = [_SPELT[spelling](str(key)) for key in keys]
    twice = [name for name, count in Counter(spelt).items() if count > 1]
    if twice:
        raise UserError(f"{str(table)!r} has several rows for {listed(twice)}: keep one of each")
    return {name: row for row, name in enumerate(spelt)}


def _check_apart(spelt: list[str], row_of: dict[str, int], spelling: str, table: str | PathLike[str]) -> None:
    twice = [name for name, count in Counter(spelt).items() if count > 1 and name in row_of]
    if twice:
        raise UserError(
            f"{str(table)!r} names pictures by {spelling}, which several share: {listed(twice)}; name their folders too"
        )


def _say_missing(names: Sequence[str], kept: np.ndarray, unlabelled: str, table: str | PathLike[str]) -> None:
    missing = [names[place] for place in sorted(set(range(len(names))).difference(kept.tolist()))]
    if missing and unlabelled == "refuse":
        raise UserError(
            f"{str(table)!r} has no row for {len(missing)} of {len(names)} pictures: {listed(missing)}; add rows,"
            " or give unlabelled=drop or keep"
        )
    if missing:
        done = "dropped" if unlabelled == "drop" else f"kept as {WITHOUT!r}"
        logger.warning("%s: %d pictures without a row are %s: %s", table, len(missing), done, listed(missing))
