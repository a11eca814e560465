"""The units of a table's columns: taken off before a pair sees them, put back in whatever is shown."""

from dataclasses import dataclass
from os import PathLike
from typing import Literal, get_args

import numpy as np
import pandas as pd
import xarray as xr

from ppvae.datasets.reading import reading
from ppvae.described import one_line
from ppvae.errors import UserError, check_choice
from ppvae.ordinary import open_ordinary

__all__ = ["Scaling", "ScalingMode", "in_units"]

ScalingMode = Literal["standard", "none"]

CENTER, SCALE = "column_center", "column_scale"  # coordinates of the standardised values in a tree


@dataclass(frozen=True, eq=False, repr=False)
class Scaling:
    """x ↦ (x − center) / scale, column by column, in float64; ``undone`` is its inverse.

    Shapes: center and scale (column,), in the columns' own units; values (..., column). ``mode``: how it was fitted, so
    that a split fits it anew to its training rows; None of one that a user gives, which stays as it is.
    """

    center: np.ndarray
    scale: np.ndarray
    mode: ScalingMode | None = None

    @classmethod
    def of(cls, values: np.ndarray, columns: np.ndarray, mode: ScalingMode = "standard") -> "Scaling":
        """Of rows (row, column), NaN where missing: ``standard`` by mean and standard deviation, ``none`` leaves them.

        A column of one value alone is only centred.
        Errors: :class:`~ppvae.errors.UserError` for one without any.
        """
        check_choice("scaling", mode, get_args(ScalingMode))
        empty = np.isnan(values).all(0)
        if empty.any():
            raise UserError(
                f"column {str(columns[empty.argmax()])!r} has no value in the {len(values)} rows to train on"
                f"{_others(empty)}: leave it out, or give more rows"
            )
        if mode == "none":
            return cls(np.zeros(values.shape[1]), np.ones(values.shape[1]), mode)
        center, spread = np.nanmean(values, 0), np.nanstd(values, 0)
        constant = np.nanmin(values, 0) == np.nanmax(values, 0)
        return cls(center, np.where(constant, 1.0, spread), mode)

    @classmethod
    def read(cls, path: str | PathLike[str], columns: np.ndarray) -> "Scaling":
        """The one that a run has kept as ``columns.csv``; UserError for a file of other columns."""
        remedy = "give the columns.csv of a run, or standard"
        with reading(path, "scaling", remedy), open_ordinary(path) as file:
            table = pd.read_csv(file, dtype={"column": str})
            if list(table["column"]) != list(map(str, columns)):
                raise UserError(f"{str(path)!r} holds the scaling of other columns than these {len(columns)}: {remedy}")
            center, scale = (table[name].to_numpy(np.float64) for name in ("center", "scale"))
        if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise UserError(f"{str(path)!r} holds a center that is not finite, or a scale not above zero: {remedy}")
        return cls(center, scale)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return (values - self.center) / self.scale

    def undone(self, values: np.ndarray) -> np.ndarray:
        """Standardised values in the columns' own units."""
        return np.asarray(values, np.float64) * self.scale + self.center

    def __repr__(self) -> str:
        return one_line(self, "center", "scale", "mode")

    def coords(self) -> dict[str, tuple[str, np.ndarray]]:
        """What :func:`in_units` reads."""
        return {CENTER: ("column", self.center), SCALE: ("column", self.scale)}


def in_units(array: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Standardised rows (..., channel, row, column), or any of dim ``column``, as named columns in their own units.

    ``like``: what the columns' names and scaling stand at as coordinates, as in ``observed_data`` of a tree.
    Returns (..., column) in float64.
    Errors: :class:`~ppvae.errors.UserError` where the coordinates are missing.
    """
    if not {"column", CENTER, SCALE} <= set(like.coords):
        raise UserError("these are no rows of a table: column names and scaling are not among the coordinates")
    inner = [dim for dim in ("channel", "row") if dim in array.dims]
    rows = array.isel(dict.fromkeys(inner, 0), drop=True).drop_vars(["column", CENTER, SCALE], errors="ignore")
    own = {name: like[name].variable for name in ("column", CENTER, SCALE)}
    named = rows.astype(np.float64).assign_coords(own)
    found = named * named[SCALE] + named[CENTER]
    return found.transpose(*rows.dims).drop_vars([CENTER, SCALE]).assign_attrs(array.attrs).rename(array.name)


def _others(empty: np.ndarray) -> str:
    return f", nor have {int(empty.sum()) - 1} others" if empty.sum() > 1 else ""
