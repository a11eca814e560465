"""CSV, TSV and Parquet files as frames: whatever is wrong with one ends in one line."""

import csv
import gzip
import io
import os
import warnings
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from ppvae.datasets.reading import reading
from ppvae.errors import UserError
from ppvae.memory import check_memory, readable_size
from ppvae.ordinary import open_ordinary

__all__ = ["ENDINGS", "imported", "read_frame"]

ENDINGS = (".csv", ".tsv", ".csv.gz", ".parquet", ".pq")
"""What these files are called; one of another ending is read as CSV."""

LARGEST = 2**32  # bytes of a file, and of what one unpacks to
LONGEST = 2**20  # of its first line
ENTRY = 8  # bytes of a number, or of where a text stands
COPIES = 2  # of the bytes, while they become columns


def read_frame(path: str | PathLike[str], *, text: bool = False) -> pd.DataFrame:
    """The columns of a file as pandas takes them; with ``text`` each entry as it is written, in which 007 stays 007.

    Text is UTF-8, its first line the columns' names, parted by what parts that line most often outside of quotes: a
    comma, a semicolon or a tab; in a ``.tsv`` it is the tab. A ``.csv.gz`` is unpacked.
    Errors: :class:`~ppvae.errors.UserError` in one line, for a file that is missing, too large or no table, rows longer
    than the first line, and Parquet without pyarrow.
    """
    ending = Path(path).suffix.lower()
    if ending in (".parquet", ".pq"):
        frame = _parquet(path)
        return frame.astype(str) if text else frame
    with (
        reading(path, "CSV table", "give a text file with a line of names first"),
        open_ordinary(path, LARGEST) as file,
    ):
        written = _unpacked(file) if ending == ".gz" else file
        check_memory(str(path), COPIES * written.seek(0, os.SEEK_END))
        return _parsed(written, "\t" if ending == ".tsv" else ",;\t", text=text)


def imported(package: str, path: str | PathLike[str]) -> Any:
    """An optional package that reads the file; UserError that names it where it is not installed."""
    try:
        return import_module(package)
    except ImportError:
        raise UserError(
            f"{str(path)!r} is read by the package {package}, which is not installed: pip install {package}, or give a"
            " .csv"
        ) from None


def _parquet(path: str | PathLike[str]) -> pd.DataFrame:
    """An index that has a name is a column, as it is where pandas writes CSV."""
    imported("pyarrow", path)
    parquet = import_module("pyarrow.parquet")
    remedy = "give a file written by pandas or pyarrow"
    with reading(path, "Parquet table", remedy), open_ordinary(path, LARGEST) as file:
        check_memory(str(path), COPIES * _unpacked_size(parquet.read_metadata(file)))
        file.seek(0)
        frame = pd.read_parquet(file, engine="pyarrow")
        return frame if frame.index.name is None else frame.reset_index()


def _unpacked_size(metadata: Any) -> int:
    """Bytes of the columns in memory, at least: what compression and repeated values saved comes back."""
    groups = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return max(sum(groups), ENTRY * metadata.num_rows * metadata.num_columns)


def _unpacked(file: BinaryIO) -> BinaryIO:
    content = gzip.GzipFile(fileobj=file).read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"it unpacks to more than {readable_size(LARGEST)}")
    return io.BytesIO(content)


def _parsed(file: BinaryIO, separators: str, *, text: bool) -> pd.DataFrame:
    file.seek(0)
    header = file.readline(LONGEST).decode("utf-8-sig")
    separator = max(separators, key=lambda one: len(next(csv.reader([header], delimiter=one), [])))
    file.seek(0)
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False} if text else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # of entries that it would leave out
        return pd.read_csv(file, sep=separator, encoding="utf-8-sig", skipinitialspace=True, index_col=False, **how)
