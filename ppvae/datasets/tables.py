"""Tables and spectra: rows of numbers with named columns."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from ppvae.datasets.columns import factors_of
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.table_files import numbers_of, read_table
from ppvae.datasets.table_rows import Rows
from ppvae.errors import UserError, check_whole

__all__ = ["rows", "table"]


def table(
    path: str | PathLike[str],
    *,
    kind: str = "real",
    scaling: str = "standard",
    labels: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    array: str = "table",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """The rows of a table in a file, each as an image 1 × 1 × D, named after the file.

    ``.csv``, ``.tsv``, ``.parquet`` (with the package pyarrow), ``.npz`` (``array`` (N, D), named by ``columns`` (D,))
    or AnnData's ``.h5ad`` (with the package anndata). Empty cells and NaN are missing entries. ``kind``: what the
    numbers are, ``real``, ``counts`` or ``binary``. ``scaling``: ``standard`` takes off the mean and standard deviation
    of each real column, those of the training rows alone where the data are split; ``none``; or a run's ``columns.csv``
    to see new rows as it does. ``labels``: columns that are factors of the rows: text, booleans
    and whole numbers by their different values, other numbers as they are. ``leave_out``: columns to forget. ``size``
    rows are drawn by ``seed``, or all are taken, in their order.

    Errors: :class:`~ppvae.errors.UserError` for a file that is missing or no table, columns that are missing or not of
    numbers, labels with gaps, and values that are not of the kind.
    """
    check_whole("seed", seed, 0)
    for name, given in (("labels", labels), ("leave_out", leave_out)):
        if isinstance(given, str):
            raise UserError(f"{name}={given}: expected a list of columns, [{given}]")
    frame = read_table(path, array, labels)
    numbers = numbers_of(frame, path, [*labels, *leave_out])
    factors = factors_of({name: frame[name].to_numpy() for name in labels}, len(frame), labels, repr(str(path)))
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    columns = numbers.columns.astype(str).to_numpy(dtype=str)
    data = rows(values, columns, kind=kind, scaling=scaling, factors=factors, name=Path(path).stem)
    if size is None:
        return data
    check_whole("size", size, 1)
    if size > len(data):
        raise UserError(f"size={size} is more than the {len(data)} rows of {data.name}: take fewer, or null for all")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    chosen = data.subset(order[:size])
    return chosen.scaled_as(chosen)


def rows(
    values: Any,
    columns: Sequence[Any] | None = None,
    *,
    kind: str = "real",
    scaling: str = "standard",
    factors: xr.Dataset | Mapping[str, Any] | None = None,
    name: str = "rows",
) -> ImageDataset:
    """Rows in memory, (row, column): a pandas or xarray table, or an array with the names of its ``columns``.

    NaN is a missing entry. Other arguments as for :func:`table`. Errors: :class:`~ppvae.errors.UserError`.
    """
    if isinstance(values, xr.DataArray):
        values = values.to_pandas()
    elif isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if columns is None:
        columns = getattr(values, "columns", range(np.shape(values)[-1] if np.ndim(values) else 0))
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError("rows hold what are no numbers: give those apart, as factors, or leave them out") from None
    return ImageDataset(Rows.checked(numbers, [str(name) for name in columns], kind, scaling), factors, name)
