"""All latent sites of a posterior's images, held where the guide puts them."""

import numpy as np
import torch
import xarray as xr

from ppvae.diagnostics.contents import draws_last, event_dims_of, group_of, variables_of
from ppvae.errors import UserError, check_whole

__all__ = ["PIXELS", "by_latent", "data_of", "held", "images_of", "latents_of", "unit_dims"]

PIXELS = ("channel", "row", "column")


def held(tree: xr.DataTree, draw: int | None = None) -> dict[str, torch.Tensor]:
    """Every latent site's value for each image, (image, *event dims): its mean under q(z | x), a discrete site's most
    probable value; with ``draw`` that draw of the posterior instead.

    Errors: :class:`~ppvae.errors.UserError` for a tree without images or without so many draws, or that keeps no draws,
    or no moments, of a site.
    """
    if draw is None:
        return {site: _tensor(_center(tree, site)) for site in latents_of(tree)}
    check_whole("draw", draw, 0)
    posterior = group_of(tree, "posterior")
    return {site: _tensor(_drawn(_kept(posterior, site), draw)) for site in latents_of(tree)}


def latents_of(tree: xr.DataTree) -> list[str]:
    """The latent sites, those included of which a tree keeps no draws."""
    return list(tree.attrs["latents"]) if "latents" in tree.attrs else list(map(str, group_of(tree, "posterior")))


def _kept(posterior: xr.Dataset, site: str) -> xr.DataArray:
    if site not in posterior:
        raise UserError(f"the tree keeps no draws of {site!r}; make it with {site!r} in from_pyro_svi's sites=, or all")
    return posterior[site]


def _center(tree: xr.DataTree, site: str) -> xr.DataArray:
    stats = group_of(tree, "sample_stats")
    name = f"{site}_mode" if f"{site}_mode" in stats else f"{site}_mean"
    if name not in stats and site in tree.attrs.get("latents", ()):
        raise UserError(
            f"the tree keeps nothing of {site!r}, where it is to be held; make it with {site!r} in from_pyro_svi's "
            "sites= or moments=, or all"
        )
    array = variables_of(stats, (name,), "sample_stats")[name]
    return array.transpose("image", ...)


def _drawn(array: xr.DataArray, draw: int) -> xr.DataArray:
    draws = draws_last(array)
    if draw >= draws.sizes["draws"]:
        raise UserError(f"draw={draw}: the tree has {draws.sizes['draws']} draws, numbered from 0; give one of them")
    return draws.isel(draws=draw).transpose("image", ...)


def _tensor(array: xr.DataArray) -> torch.Tensor:
    return torch.from_numpy(np.array(array.values))  # a copy: what a store is read from may not be written to


def images_of(tree: xr.DataTree) -> xr.DataArray:
    """The images that the tree is of, named after the site that observes them: (image, channel, row, column).

    ``x``, or the only site that is given image by image. Errors: :class:`~ppvae.errors.UserError` for none or several.
    """
    data = group_of(tree, "observed_data")
    names = [str(name) for name, array in data.data_vars.items() if array.dims[:1] == ("image",)]
    if "x" not in names and len(names) != 1:
        raise UserError(
            f"observed_data holds {', '.join(names) or 'no site'} image by image; expected x or one site, the images"
        )
    array = data["x" if "x" in names else names[0]]
    own = array.dims[1:]
    return array.rename(dict(zip(own, PIXELS, strict=True))) if len(own) == len(PIXELS) and own != PIXELS else array


def data_of(tree: xr.DataTree) -> tuple[torch.Tensor, ...]:
    """What the programs were called with: the images, then the inputs beside them, (image, ...) each."""
    names = tree["constant_data"].attrs.get("inputs", ()) if "constant_data" in tree.children else ()
    inputs = (_tensor(tree["constant_data"][name].transpose("image", ...)) for name in names)
    return _tensor(images_of(tree)), *(values if values.is_floating_point() else values.long() for values in inputs)


def unit_dims(tree: xr.DataTree, site: str) -> tuple[str, ...]:
    """The dim that numbers a site's latents, its first; none of a site that is one latent."""
    return () if f"{site}_mode" in tree["sample_stats"] else event_dims_of(tree, site)[:1]


def by_latent(values: torch.Tensor) -> torch.Tensor:
    """A site's values (image, *event dims) as (image, latent, entry): the entries of a feature map, or one."""
    return values.reshape(len(values), values.shape[1] if values.dim() > 1 else 1, -1)
