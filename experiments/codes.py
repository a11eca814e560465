"""A posterior's codes as one matrix, whatever its latent sites are called and however many there are."""

import xarray as xr

from ppvae.diagnostics.contents import codes_of, draws_last, event_dims_of, group_of, variables_of

__all__ = ["code_deviations", "latent_names_of", "mean_codes", "of_site", "readings", "sampled_codes"]


def mean_codes(tree: xr.DataTree) -> xr.DataArray:
    """Means of q(z | x) of all codes side by side, (image, latent), a feature map by the mean of its entries.

    Latents of several codes are named ``site[number]``.
    """
    moments = group_of(tree, "sample_stats")
    return _side_by_side(tree, {site: moments[f"{site}_mean"] for site in codes_of(tree)})


def code_deviations(tree: xr.DataTree) -> xr.DataArray:
    """Standard deviations of q(z | x), as :func:`mean_codes`."""
    moments = group_of(tree, "sample_stats")
    return _side_by_side(tree, {site: moments[f"{site}_variance"] ** 0.5 for site in codes_of(tree)})


def sampled_codes(tree: xr.DataTree) -> xr.DataArray:
    """As :func:`mean_codes`, the first draw of each image; UserError where the tree does not keep draws of all."""
    posterior = variables_of(group_of(tree, "posterior"), tuple(codes_of(tree)), "posterior")
    return _side_by_side(tree, {str(site): draws_last(one).isel(draws=0) for site, one in posterior.items()})


def readings(tree: xr.DataTree) -> dict[str, xr.DataArray]:
    """``sampled`` codes, where the tree keeps draws of all of them, and ``mean`` ones, (image, latent) each."""
    drawn = set(tree["posterior"].data_vars) if "posterior" in tree.children else set()
    sampled = {"sampled": sampled_codes(tree)} if drawn >= set(codes_of(tree)) else {}
    return {**sampled, "mean": mean_codes(tree)}


def latent_names_of(tree: xr.DataTree, site: str) -> list:
    """What :func:`mean_codes` calls a site's latents."""
    own = event_dims_of(tree, site)
    numbers = group_of(tree, "sample_stats")[own[0]].values.tolist() if own else [0]
    return numbers if len(codes_of(tree)) == 1 else [f"{site}[{number}]" for number in numbers]


def of_site(array: xr.DataArray, tree: xr.DataTree, site: str) -> xr.DataArray:
    """What is known of all latents, for one site's alone, under the site's own numbers."""
    own = event_dims_of(tree, site)
    numbers = group_of(tree, "sample_stats")[own[0]].values if own else [0]
    return array.sel(latent=latent_names_of(tree, site)).assign_coords(latent=numbers)


def _side_by_side(tree: xr.DataTree, arrays: dict[str, xr.DataArray]) -> xr.DataArray:
    return xr.concat([_matrix(tree, site, array.load()) for site, array in arrays.items()], "latent", join="exact")


def _matrix(tree: xr.DataTree, site: str, array: xr.DataArray) -> xr.DataArray:
    own = event_dims_of(tree, site)
    matrix = array.mean(own[1:]) if own else array.expand_dims("latent", -1)
    matrix = matrix.rename({own[0]: "latent"}) if own and own[0] != "latent" else matrix
    named = matrix.assign_coords(latent=latent_names_of(tree, site)).rename("codes").drop_attrs()
    return named.transpose("image", "latent")
