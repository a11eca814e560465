"""All latent sites of a posterior's images, held where the guide puts them."""

import numpy as np
import torch
import xarray as xr

from ppvae.diagnostics.contents import draws_last, group_of, variables_of
from ppvae.errors import UserError, check_whole

__all__ = ["held", "observation_of"]


def held(tree: xr.DataTree, draw: int | None = None) -> dict[str, torch.Tensor]:
    """Every latent site's value for each image, (image, *event dims): its mean under q(z | x), a discrete site's most
    probable value; with ``draw`` that draw of the posterior instead.

    Errors: :class:`~ppvae.errors.UserError` for a tree without images, or without so many draws.
    """
    posterior = group_of(tree, "posterior")
    if draw is None:
        return {str(site): _tensor(_center(tree, str(site))) for site in posterior.data_vars}
    check_whole("draw", draw, 0)
    return {str(site): _tensor(_drawn(array, draw)) for site, array in posterior.data_vars.items()}


def _center(tree: xr.DataTree, site: str) -> xr.DataArray:
    stats = group_of(tree, "sample_stats")
    name = f"{site}_mode" if f"{site}_mode" in stats else f"{site}_mean"
    array = variables_of(stats, (name,), "sample_stats")[name]
    return array.transpose("image", ...)


def _drawn(array: xr.DataArray, draw: int) -> xr.DataArray:
    draws = draws_last(array)
    if draw >= draws.sizes["draws"]:
        raise UserError(f"draw={draw}: the tree has {draws.sizes['draws']} draws, numbered from 0; give one of them")
    return draws.isel(draws=draw).transpose("image", ...)


def _tensor(array: xr.DataArray) -> torch.Tensor:
    return torch.from_numpy(np.array(array.values))  # a copy: what a store is read from may not be written to


def observation_of(tree: xr.DataTree) -> tuple[str, torch.Tensor, xr.DataArray]:
    """The site that observes the images: its name, its values (image, C, H, W), and their names.

    ``x``, or the only one that is given image by image. Errors: :class:`~ppvae.errors.UserError` for none or several.
    """
    data = group_of(tree, "observed_data")
    names = [str(name) for name, array in data.data_vars.items() if array.dims[:1] == ("image",)]
    if "x" not in names and len(names) != 1:
        raise UserError(
            f"observed_data holds {', '.join(names) or 'no site'} image by image; expected x or one site, the images"
        )
    name = "x" if "x" in names else names[0]
    return name, _tensor(data[name]), data[name]
