"""Reading a tree's groups: one line that says what is missing."""

import xarray as xr

from ppvae.datasets.scaling import SCALE
from ppvae.errors import UserError, check_choice
from ppvae.nouns import IMAGE, ROW, Noun

__all__ = [
    "SAMPLE_DIMS",
    "chosen_code",
    "codes_of",
    "draws_last",
    "entry_name",
    "event_dims_of",
    "group_of",
    "kl_of",
    "noun_in",
    "rate_of",
    "variables_of",
]

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


def noun_in(tree: xr.DataTree) -> Noun:
    """What its observations are: rows where they have the scales of a table's columns, else images."""
    observed = tree["observed_data"].to_dataset() if "observed_data" in tree.children else xr.Dataset()
    return ROW if SCALE in observed.coords else IMAGE


def codes_of(tree: xr.DataTree) -> list[str]:
    """The latent sites that are codes, with a mean and a variance image by image: no discrete site, and none that is a
    parameter of another, as a precision is of its z. UserError where there is none."""
    stats = group_of(tree, "sample_stats")
    found = [name.removesuffix("_mean") for name in map(str, stats) if name.endswith("_mean")]
    found = [site for site in found if f"{site}_variance" in stats and f"{site}_mode" not in stats]
    codes = [site for site in found if "parameter_of" not in stats[f"{site}_mean"].attrs]
    if not codes:
        raise UserError(
            f"sample_stats holds {', '.join(sorted(map(str, stats)))}, expected the mean and variance of a latent site "
            "image by image; give from_pyro_svi the images"
        )
    return codes


def chosen_code(tree: xr.DataTree, site: str | None) -> str:
    """The site, if a code, or by default the only one; UserError lists them."""
    codes = codes_of(tree)
    if site is None and len(codes) > 1:
        raise UserError(f"the tree holds the codes {', '.join(codes)}; give site=, one of them")
    site = codes[0] if site is None else site
    check_choice("site", site, codes)
    return site


def event_dims_of(tree: xr.DataTree, site: str) -> tuple[str, ...]:
    """A site's own dims, such as (latent,), or (channel, row, column) of feature maps, which the first numbers."""
    dims = group_of(tree, "sample_stats")[f"{site}_mean"].dims
    return tuple(str(dim) for dim in dims if dim not in ("image", *SAMPLE_DIMS))


def kl_of(tree: xr.DataTree, site: str) -> xr.DataArray | None:
    """KL of q(z | x) from p(z) of each of a site's latents, nats, mean over the images, summed over feature maps.

    Over dim ``latent``, in the tree's order; None where the site has one KL as a whole.
    """
    kl, own = _kl(tree, site), event_dims_of(tree, site)
    if own and own[0] not in kl.dims:
        return None
    latent = kl.sum([dim for dim in kl.dims if dim not in ("image", *own[:1])], skipna=False)
    mean = latent.astype(float).mean("image", skipna=False)
    if not own:
        return mean.expand_dims("latent")
    return mean if own[0] == "latent" else mean.rename({own[0]: "latent"})


def rate_of(tree: xr.DataTree, site: str) -> float:
    """KL of q(z | x) from p(z) of a site as a whole, nats, mean over the images."""
    kl = _kl(tree, site)
    return float(kl.astype(float).sum([dim for dim in kl.dims if dim != "image"], skipna=False).mean(skipna=False))


def _kl(tree: xr.DataTree, site: str) -> xr.DataArray:
    """A site's KL of each image, over some of its own dims."""
    stats, own = group_of(tree, "sample_stats"), event_dims_of(tree, site)
    name = f"kl_{site}" if f"kl_{site}" in stats else "kl"
    kl = variables_of(stats, (name,), "sample_stats")[name]
    if not set(kl.dims) <= {"image", *own}:
        raise UserError(f"{name!r} has dims {kl.dims}, expected image and {own or 'no more'}; average any other first")
    return kl


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
