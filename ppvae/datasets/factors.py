"""Factors of variation: the index of a level for every image, and what the levels are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["factor", "factor_table"]


def factor(index: Any, values: Sequence[Any], **attrs: Any) -> xr.DataArray:
    """A factor of variation: (N,) indices into `values` (one number or name a level), with further attributes."""
    return xr.DataArray(np.asarray(index), dims="image", attrs={"levels": len(values), "values": list(values), **attrs})


def factor_table(factors: xr.Dataset | Mapping[str, Any], n: int) -> xr.Dataset:
    """The factors as a Dataset over `image`, checked against n images; without variables where there are none."""
    if not isinstance(factors, Mapping):
        raise UserError(
            f"factors of type {type(factors).__name__}: expected an xarray.Dataset or a mapping name -> levels"
        )
    described = isinstance(factors, xr.Dataset)
    if described and factors.sizes.get("image", n) != n:
        raise UserError(f"factors of {factors.sizes['image']} images: expected {n}, as many as there are images")
    variables = {name: _factor_variable(name, values, n) for name, values in factors.items()}
    image = factors["image"].values if described and "image" in factors.coords else np.arange(n)
    return xr.Dataset(variables, coords={"image": image}, attrs=factors.attrs if described else None)


def _factor_variable(name: str, values: Any, n: int) -> xr.Variable:
    index = np.asarray(values)
    if name in ("image", "images", "channel", "row", "column"):
        raise UserError(f"factor {name!r} has the name of an image axis: rename it")
    if index.shape != (n,):
        raise UserError(f"factor {name!r} has shape {index.shape}: expected ({n},), one level an image")
    if index.dtype.kind not in "iu":
        raise UserError(f"factor {name!r} has dtype {index.dtype}: expected integers, the index of a level")
    attrs = dict(values.attrs) if isinstance(values, xr.DataArray) else {}
    levels = attrs.setdefault("levels", int(index.max()) + 1)
    attrs.setdefault("values", list(range(levels)))
    if index.min() < 0 or index.max() >= levels or len(attrs["values"]) != levels:
        raise UserError(
            f"factor {name!r} holds {index.min()}..{index.max()}, levels={levels}, {len(attrs['values'])} values:"
            f" expected indices in 0..{levels - 1} and one value a level"
        )
    return xr.Variable("image", index, attrs)
