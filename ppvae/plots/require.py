"""Checks of what comes into a figure: one line that says what came and what was expected."""

from collections.abc import Hashable, Iterable

import xarray as xr

from ppvae.errors import UserError

__all__ = ["require_array", "require_dataset", "require_variable"]


def _listed(names: Iterable[Hashable]) -> str:
    return "(" + ", ".join(str(name) for name in names) + ")"


def require_array(array: object, dims: tuple[str, ...], what: str) -> xr.DataArray:
    """The array with its dims in this order; UserError when it is no DataArray, has other dims or holds nothing."""
    if not isinstance(array, xr.DataArray):
        raise UserError(f"{what}: got {type(array).__name__}, expected an xarray.DataArray with dims {_listed(dims)}")
    if set(array.dims) != set(dims):
        raise UserError(f"{what}: got dims {_listed(array.dims)}, expected {_listed(dims)}; rename or select to match")
    if array.size == 0:
        raise UserError(f"{what}: got an empty array, sizes {dict(array.sizes)}, expected at least one value")
    return array.transpose(*dims)


def require_dataset(dataset: object, what: str) -> xr.Dataset:
    """The dataset itself; UserError when it is none."""
    if not isinstance(dataset, xr.Dataset):
        raise UserError(f"{what}: got {type(dataset).__name__}, expected an xarray.Dataset")
    return dataset


def require_variable(dataset: object, name: str, dims: tuple[str, ...], what: str) -> xr.DataArray:
    """One variable of a dataset with its dims in this order; UserError lists the variables that are there."""
    variables = require_dataset(dataset, what)
    if name not in variables:
        raise UserError(f"{what}: no variable {name!r}, expected one of {_listed(sorted(map(str, variables)))}")
    return require_array(variables[name], dims, f"{what}, variable {name!r}")
