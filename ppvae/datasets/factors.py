"""Factors of variation: the index of a level for every image, and what the levels are, or a number for every image."""

import math
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ppvae.errors import UserError

__all__ = ["RESERVED", "factor", "factor_of", "factor_table"]

RESERVED = ("image", "images", "channel", "row", "column", "file")
"""Names that no factor can have: those of the images' axes, and of their files."""

PLAIN = (str, bytes, bool, np.bool_, Number)  # what a level is made of


def factor(index: Any, values: Sequence[Any], **attrs: Any) -> xr.DataArray:
    """A factor of variation: (N,) indices into ``values`` (one number or name a level), with further attributes."""
    return xr.DataArray(np.asarray(index), dims="image", attrs={"levels": len(values), "values": list(values), **attrs})


def factor_of(name: str, values: np.ndarray, images: int, *, named: bool = True) -> xr.DataArray:
    """A factor from (N,) or (N, 1) text, booleans, whole numbers or floats, as many as there are images.

    Text, booleans and whole numbers are levels: the different values that occur. Floats are levels where all are whole
    and, on average, two images or more share one, else a continuous factor; so are whole numbers that nobody ``named``
    as labels.
    Errors: :class:`~ppvae.errors.UserError` with the reason, for what is none of these, holds no value for an image,
    or, not ``named``, is another text for each image.
    """
    column = _column(name, values, images)
    levels, index = np.unique(column, return_inverse=True)
    shared, whole = 2 * len(levels) <= images, column.dtype.kind != "f" or (levels == levels.round()).all()
    if (shared and whole) or (named and column.dtype.kind != "f"):
        return factor(index, levels.tolist())
    if column.dtype.kind == "U":
        raise UserError(f"factor {name!r} names {len(levels)} of {images} images apart, and groups none")
    return xr.DataArray(column.astype(np.float64), dims="image")


def _column(name: str, values: np.ndarray, images: int) -> np.ndarray:
    """(N,) text, booleans or finite numbers; UserError for anything else."""
    column = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if name in RESERVED:
        raise UserError(f"factor {name!r} has the name of an image axis or of the files: rename it")
    if column.shape != (images,):
        raise UserError(f"factor {name!r} has shape {values.shape}: expected ({images},), one level or number an image")
    if column.dtype.kind not in "OTSUbiuf":
        raise UserError(f"factor {name!r} has dtype {column.dtype}: expected numbers, text or booleans")
    if (gaps := _gaps(column)).any():
        raise UserError(f"factor {name!r} has no finite value for {gaps.sum()} of {images} images: fill these in")
    odd = [one for one in column.tolist() if not isinstance(one, PLAIN)]
    if odd:
        kind, example = type(odd[0]).__name__, str(odd[0])[:20]
        raise UserError(f"factor {name!r} holds {kind}, such as {example!r}: expected numbers, text or booleans")
    if column.dtype.kind in "OTS":
        return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in column.tolist()])
    return column


def _gaps(column: np.ndarray) -> np.ndarray:
    """(N,) where there is no finite value: None, NaN, pandas's NA or an infinity."""
    return pd.isna(column) | [isinstance(one, float) and math.isinf(one) for one in column.tolist()]


def factor_table(factors: xr.Dataset | Mapping[str, Any], n: int) -> xr.Dataset:
    """The factors as a Dataset over ``image``, checked against n images; without variables where there are none."""
    if not isinstance(factors, Mapping):
        raise UserError(
            f"factors of type {type(factors).__name__}: expected an xarray.Dataset or a mapping name -> levels"
        )
    described = isinstance(factors, xr.Dataset)
    if described and factors.sizes.get("image", n) != n:
        raise UserError(f"factors of {factors.sizes['image']} images: expected {n}, as many as there are images")
    variables = {name: _factor_variable(name, values, n) for name, values in factors.items()}
    coords = {"image": factors["image"].values if described and "image" in factors.coords else np.arange(n)}
    if described and "file" in factors.coords:
        coords["file"] = factors["file"].variable
    return xr.Dataset(variables, coords=coords, attrs=factors.attrs if described else None)


def _factor_variable(name: str, values: Any, n: int) -> xr.Variable:
    index = np.asarray(values)
    index = index[:, 0] if index.shape == (n, 1) else index
    if index.dtype.kind not in "iu":
        continuous = index.dtype.kind == "f" and isinstance(values, xr.DataArray)  # and so is every part of it
        found = xr.DataArray(_column(name, index, n)) if continuous else factor_of(name, index, n)
        return xr.Variable("image", found.values, getattr(values, "attrs", {}) | found.attrs)
    if name in RESERVED:
        raise UserError(f"factor {name!r} has the name of an image axis or of the files: rename it")
    if index.shape != (n,):
        raise UserError(f"factor {name!r} has shape {index.shape}: expected ({n},), one level an image")
    attrs = dict(values.attrs) if isinstance(values, xr.DataArray) else {}
    levels = attrs.setdefault("levels", int(index.max()) + 1)
    attrs.setdefault("values", list(range(levels)))
    if index.min() < 0 or index.max() >= levels or len(attrs["values"]) != levels:
        raise UserError(
            f"factor {name!r} holds {index.min()}..{index.max()}, levels={levels}, {len(attrs['values'])} values:"
            f" expected indices in 0..{levels - 1} and one value a level"
        )
    return xr.Variable("image", index, attrs)
