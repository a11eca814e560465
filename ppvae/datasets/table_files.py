"""Tables in files: CSV, Parquet, .npz and AnnData."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from ppvae.datasets.frames import ENDINGS, imported, read_frame
from ppvae.datasets.numpy_archives import numpy_archive
from ppvae.datasets.reading import reading
from ppvae.errors import UserError
from ppvae.memory import check_memory
from ppvae.ordinary import open_ordinary

__all__ = ["read_table"]

TIMES = ("datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period")  # as pandas calls them


def read_table(path: str | PathLike[str], array: str, labels: Sequence[str] = ()) -> pd.DataFrame:
    """The file as a frame, whatever its columns hold; the ending of its name says what it is.

    ``array``: of an .npz file the table's name, whose columns are named by the array ``columns`` where there is one; of
    an AnnData file ``X`` or the name of a layer. ``labels``: further columns, of one entry a row: other arrays of the
    .npz file, or columns of AnnData's ``obs``.
    Errors: :class:`~ppvae.errors.UserError` in one line, also for a package that is not installed.
    """
    readers: Mapping[str, Callable[[Path], pd.DataFrame]] = {
        **dict.fromkeys(ENDINGS, read_frame),
        ".npz": partial(_npz, array=array, labels=labels),
        ".h5ad": partial(_anndata, array=array, labels=labels),
    }
    ending = next((one for one in readers if str(path).lower().endswith(one)), None)
    if ending is None:
        raise UserError(f"{str(path)!r} is no table by its name: expected one of {', '.join(readers)}")
    return readers[ending](Path(path))


def _npz(path: Path, array: str, labels: Sequence[str]) -> pd.DataFrame:
    with numpy_archive(path, ".npz archive", "give an archive written by numpy.savez") as archive:
        if array not in archive or len(archive[array].shape) != 2:
            tables = [name for name, header in archive.items() if len(header.shape) == 2]
            raise UserError(
                f"{str(path)!r} has no table {array!r}: name one of {', '.join(tables[:12]) or 'none'} as array"
            )
        rows, columns = archive[array].shape
        others = [name for name, header in archive.items() if header.shape == (rows,) and name in labels]
        named = ["columns"] if "columns" in archive else []
        found = archive.read([array, *named, *others])
    names = found.get("columns", np.arange(columns))
    if names.shape != (columns,):
        raise UserError(f"{str(path)!r}: columns has shape {names.shape}, expected ({columns},), a name for each")
    frame = pd.DataFrame(found[array], columns=names.astype(str))
    return pd.concat([frame, pd.DataFrame({name: found[name] for name in others})], axis=1)


def _anndata(path: Path, array: str, labels: Sequence[str]) -> pd.DataFrame:
    anndata = imported("anndata", path)
    with reading(path, "AnnData table", "give a file written by AnnData.write_h5ad"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's own calls, and of names that come twice, which are refused
        open_ordinary(path).close()
        data = anndata.read_h5ad(path)
        values = _layer(data, array, path)
        check_memory(str(path), 8 * int(np.prod(data.shape)))
        dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        frame = pd.DataFrame(dense, columns=data.var_names.astype(str))
        return pd.concat([frame, _observed(data, labels, path)], axis=1)


def _layer(data: Any, array: str, path: Path) -> Any:
    """AnnData's X or the layer of that name, dense or sparse; UserError where it has none."""
    layers = {"X": data.X, **{name: layer for name, layer in data.layers.items() if name is not None}}
    found = layers.get(array, layers["X"] if array == "table" else None)
    if found is None:
        names = ", ".join(name for name, layer in layers.items() if layer is not None) or "none"
        raise UserError(f"{str(path)!r} has no layer {array!r}: give one of {names} as array")
    return found


def _observed(data: Any, labels: Sequence[str], path: Path) -> pd.DataFrame:
    """The columns of AnnData's ``obs`` that are labels; the other labels are variables."""
    for name in labels:
        if name not in data.obs and name not in data.var_names:
            raise UserError(f"{str(path)!r} has no column {name!r} in obs: name one of {_listed(data.obs.columns)}")
        if name in data.obs and name in data.var_names:
            raise UserError(f"{str(path)!r}: {name!r} is a column of obs and a variable: rename one")
    return data.obs[[name for name in labels if name in data.obs]].reset_index(drop=True)


def numbers_of(frame: pd.DataFrame, path: str | PathLike[str], aside: Sequence[str]) -> pd.DataFrame:
    """The columns of numbers, all but those ``aside``; UserError that names one of words."""
    for name in aside:
        if name not in frame:
            raise UserError(f"{str(path)!r} has no column {name!r}: name one of {_listed(frame.columns)}")
    numbers = _plain(frame.drop(columns=list(aside)))
    words = [name for name, kind in numbers.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if words:
        _refuse(numbers[words[0]], path)
    if not len(numbers.columns) or not len(numbers):
        raise UserError(
            f"{str(path)!r} holds {len(numbers)} rows of {len(numbers.columns)} columns of numbers: give some"
        )
    return numbers


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """With numbers for columns of Python objects that are some: booleans with gaps, decimals, and gaps alone."""
    objects = [name for name, kind in frame.dtypes.items() if pd.api.types.is_object_dtype(kind)]
    found = [name for name in objects if pd.api.types.infer_dtype(frame[name]) in ("boolean", "decimal", "empty")]
    return frame.astype(dict.fromkeys(found, float))


def _refuse(column: pd.Series, path: str | PathLike[str]) -> NoReturn:
    """UserError that says what to do with a column that is not of numbers."""
    name, first = column.name, column.dropna()
    example = f" ({str(first.iloc[0])[:20]!r})" if len(first) else ""
    if pd.api.types.infer_dtype(column) in TIMES:
        remedy = "is of times: write them as numbers, such as days since the first"
    else:
        remedy = f"is not of numbers; give it as a label, labels=[{name}]"
    raise UserError(f"{str(path)!r}: column {name!r}{example} {remedy}, or leave it out, leave_out=[{name}]")


def _listed(names: Any, most: int = 12) -> str:
    return ", ".join(map(str, names[:most])) + ", …" * (len(names) > most)
