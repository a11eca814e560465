"""Named arrays joined, labelled and put together as a DataTree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import torch
import xarray as xr
from arviz_base import dict_to_dataset, make_attrs, rcParams

from ppvae.errors import UserError
from ppvae.pair.sites import Arrays

__all__ = ["check_coords", "constants", "dataset", "labelled", "tree_of"]

STATISTICS = {"log_p": "log joint density", "log_q": "log density of the guide", "elbo": "evidence lower bound"}
TERMS = {"log_likelihood": "log likelihood", "log_prior": "log prior density"}


def dataset(parts: Sequence[Arrays], sample_dims: tuple[str, ...], units: str, group: str) -> xr.Dataset:
    """Chunks joined along ``image``; the draw dim becomes ``sample_dims``.

    Errors: :class:`~ppvae.errors.UserError` for one name of two sizes, or of a dim and a variable.
    """
    variables = {}
    for name, (dims, _) in parts[0].items():
        arrays = [part[name][1].detach().cpu() for part in parts]
        joined = (torch.cat(arrays, dims.index("image")) if len(arrays) > 1 else arrays[0]).numpy()
        if dims[:1] == ("draw",):
            joined = joined[None] if len(sample_dims) == 2 else joined
            dims = (*sample_dims, *dims[1:])
        variables[name] = (dims, joined, _attributes(group, name, units))
    _check_dims({name: dict(zip(dims, array.shape, strict=True)) for name, (dims, array, _) in variables.items()})
    return xr.Dataset(variables)


def _check_dims(variables: Mapping[str, Mapping[str, int]]) -> None:
    known: dict[str, tuple[int, str]] = {}
    for name, sizes in variables.items():
        for dim, size in sizes.items():
            if dim in variables:
                raise UserError(f"{dim!r} is a dim of {name!r} and a site of its own; rename the plate or give dims=")
            first = known.setdefault(dim, (size, name))
            if first[0] != size:
                raise UserError(
                    f"dim {dim!r} has {first[0]} entries at {first[1]!r} and {size} at {name!r}; give it two names"
                )


def _attributes(group: str, name: str, units: str) -> dict[str, str]:
    if group in TERMS:
        return {"long_name": f"{TERMS[group]} of {name}", "units": units}
    if group == "sample_stats" and name in STATISTICS:
        return {"long_name": STATISTICS[name], "units": units}
    if group == "sample_stats" and (name == "kl" or name.startswith("kl_")):
        return {"long_name": "KL divergence from the prior", "units": units}
    return {}


def labelled(group: xr.Dataset, coords: Mapping[str, Any], index_origin: int | None = None) -> xr.Dataset:
    """The group with a coordinate for each dim: the given one, its own, or its positions."""
    origin = rcParams["data.index_origin"] if index_origin is None else index_origin
    given = {dim: values for dim, values in coords.items() if dim in group.dims}
    missing = {dim: size for dim, size in group.sizes.items() if dim not in given and dim not in group.coords}
    return group.assign_coords({dim: np.arange(origin, size + origin) for dim, size in missing.items()} | given)


def check_coords(coords: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """UserError for a dim that no variable has, or values of another number than the dim's size."""
    for dim, values in coords.items():
        if dim not in sizes:
            raise UserError(f"coords has {dim!r}; expected one of the dims {', '.join(sizes)}")
        if len(values) != sizes[dim]:
            raise UserError(f"coords has {len(values)} values for {dim!r}; expected {sizes[dim]}")


def constants(data: xr.Dataset | Mapping[str, Any], dims: Mapping[str, Sequence[str]]) -> xr.Dataset:
    """Constant data as a dataset: as it is, or arrays by name with the dims named for them."""
    if isinstance(data, xr.Dataset):
        return data
    arrays = {name: _array(values) for name, values in data.items()}
    return dict_to_dataset(arrays, dims={k: list(v) for k, v in dims.items()}, sample_dims=[]).drop_attrs()


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def tree_of(
    groups: Mapping[str, xr.Dataset],
    sample_dims: tuple[str, ...],
    kind: type[xr.DataTree] = xr.DataTree,
    **attributes: Any,
) -> xr.DataTree:
    """The groups as a DataTree with ArviZ's attributes; groups with draws name their sample dims."""
    for group in groups.values():
        if set(sample_dims) <= set(group.dims):
            group.attrs["sample_dims"] = list(sample_dims)
    tree = kind.from_dict(dict(groups))
    tree.attrs.update(make_attrs(attributes, inference_library=pyro))
    return tree
