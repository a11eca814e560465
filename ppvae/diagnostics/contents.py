"""Reading a tree's groups: one line that says what is missing."""

import xarray as xr

from ppvae.errors import UserError

__all__ = ["SAMPLE_DIMS", "draws_last", "entry_name", "group_of", "variables_of"]

SAMPLE_DIMS = ("chain", "draw", "sample")


def group_of(tree: xr.DataTree, name: str, remedy: str = "make it with from_pyro_svi") -> xr.Dataset:
    """One group's Dataset; UserError lists the groups that are there, and says why ``examine`` left this one out."""
    if not isinstance(tree, xr.DataTree):
        raise UserError(f"tree is a {type(tree).__name__}; expected the DataTree that from_pyro_svi returns")
    if name not in tree.children:
        why = tree.attrs.get(f"without_{name}", remedy)
        raise UserError(f"tree holds groups {', '.join(sorted(tree.children)) or 'none'}, no {name}; {why}")
    return tree[name].to_dataset()


def variables_of(dataset: xr.Dataset, names: tuple[str, ...], group: str) -> xr.Dataset:
    """These variables of a group; UserError names one that is missing and lists those that are there."""
    for name in names:
        if name not in dataset:
            found = ", ".join(sorted(map(str, dataset))) or "nothing"
            raise UserError(f"{group} lacks {name!r}, it holds {found}; make it with from_pyro_svi")
    return dataset[list(names)]


def draws_last(array: xr.DataArray) -> xr.DataArray:
    """Its sample dims, whichever it has, as one last dim ``draws``."""
    dims = [dim for dim in SAMPLE_DIMS if dim in array.dims]
    if not dims:
        raise UserError(f"{array.name!r} has dims {array.dims}; expected chain and draw, or sample, among them")
    return array.drop_vars(dims, errors="ignore").stack(draws=dims, create_index=False)


def entry_name(array: xr.DataArray, place: tuple[int, ...]) -> str:
    """``site[coordinate, ...]`` of one entry of a site's array over its event dims."""
    labels = [str(array[dim].values[i]) for dim, i in zip(array.dims, place, strict=True)]
    return f"{array.name}[{', '.join(labels)}]" if labels else str(array.name)
