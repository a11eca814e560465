"""Where in a hierarchy the information is: KL, active units and sizes of each group, and of each scale."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.contents import SAMPLE_DIMS, group_of
from ppvae.errors import UserError

__all__ = ["information_by_group", "information_by_scale"]

LONG_NAMES = {
    "rate": ("KL of q(z|x) from the prior", "nats"),
    "rate_error": ("standard error of the rate over the images", "nats"),
    "share": ("share of the rate of all groups", "1"),
    "latents": ("latents, of which a feature map is one", "latents"),
    "entries": ("numbers that the group holds", "numbers"),
    "active_units": ("active units", "latents"),
    "map_rate": ("KL of each latent, summed over its map", "nats"),
}


def information_by_group(tree: xr.DataTree, *, min_activity: float = 0.01) -> xr.Dataset:
    """What each latent site of a hierarchy carries, over ``site``, top first.

    ``rate``: KL(q(z_l | z_<l, x) ‖ p(z_l | z_<l)), nats, mean over the images, with ``rate_error``; ``share`` of the
    rates' sum. ``latents``: how many, a feature map being one; ``entries``: numbers in all of them. ``active_units``:
    latents whose mean code varies over the images by more than ``min_activity``, averaged over a map. ``map_rate``
    (site, map): the rate of each latent, NaN beyond the site's own and where the site has one KL as a whole. Coordinate
    ``scale``: rows × columns of the maps, ``vector`` of a site without. Of sites of which the tree keeps no moments the
    rate alone is known; all else is NaN, their scale ``?``. :func:`information_by_scale` sums up the groups of a scale.

    Reads kl_<site> (or kl, of one code) and <site>_mean of sample_stats.
    Errors: :class:`~ppvae.errors.UserError` where it holds no KL.
    Sources: Sønderby et al. 2016, "Ladder variational autoencoders", Fig. 4, KL by layer; Burda et al. 2016 for active
    units.
    """
    stats = group_of(tree, "sample_stats")
    names = [str(name) for name in stats if name == "kl" or str(name).startswith("kl_")]
    if not names:
        raise UserError("sample_stats holds no KL; make the tree with from_pyro_svi and the images")
    sites = _in_order(tree, names)
    found = [_of_site(stats, name, site, min_activity) for name, site in sites.items()]
    columns = {name: ("site", np.array([row[name] for row in found])) for name in ("rate", "rate_error", *SIZES)}
    rates, maps = columns["rate"][1], [row["map_rate"] for row in found]
    columns["share"] = ("site", rates / rates.sum() if rates.sum() else np.full(len(rates), np.nan))
    widest = max(len(values) for values in maps)
    padded = [np.pad(values, (0, widest - len(values)), constant_values=np.nan) for values in maps]
    columns["map_rate"] = (("site", "map"), np.stack(padded))
    coords = {"site": list(sites.values()), "scale": ("site", [row["scale"] for row in found])}
    groups = xr.Dataset(columns, coords, {"images": stats.sizes["image"], "min_activity": min_activity})
    for name, (long_name, units) in LONG_NAMES.items():
        groups[name].attrs = {"long_name": long_name, "units": units}
    return groups


SIZES = ("latents", "entries", "active_units")


def information_by_scale(groups: xr.Dataset) -> xr.Dataset:
    """:func:`information_by_group` summed up over the groups of each scale, over ``scale``, top first.

    ``rate``, ``share``, ``latents``, ``entries``, ``active_units``, and ``groups``, their number.
    """
    scales = list(dict.fromkeys(groups["scale"].values.tolist()))
    columns = {}
    for name in ("rate", "share", *SIZES):
        sums = [float(groups[name][groups["scale"] == scale].sum(skipna=False)) for scale in scales]
        columns[name] = ("scale", sums, groups[name].attrs)
    counts = [int((groups["scale"] == scale).sum()) for scale in scales]
    columns["groups"] = ("scale", counts, {"long_name": "groups", "units": "groups"})
    return xr.Dataset(columns, {"scale": scales}, groups.attrs)


def _in_order(tree: xr.DataTree, names: list[str]) -> dict[str, str]:
    """Each KL's variable and its site, in the program's order where the tree says it."""
    latents = list(tree.attrs.get("latents", ()))
    if names == ["kl"]:
        stats = tree["sample_stats"]
        codes = [site for site in latents if "parameter_of" not in stats.get(f"{site}_mean", stats["kl"]).attrs]
        return {"kl": codes[0] if len(codes) == 1 else "z"}
    sites = {name: name.removeprefix("kl_") for name in names if name != "kl"}
    order = {site: place for place, site in enumerate(latents)}
    return dict(sorted(sites.items(), key=lambda item: order.get(item[1], len(order))))


def _of_site(stats: xr.Dataset, name: str, site: str, min_activity: float) -> dict[str, object]:
    kl = stats[name].astype(float)
    by_image = kl.sum([dim for dim in kl.dims if dim != "image"], skipna=False)
    error = float(by_image.std(ddof=1)) / by_image.size**0.5 if by_image.size > 1 else np.nan
    row: dict[str, object] = {"rate": float(by_image.mean(skipna=False)), "rate_error": error}
    mean = stats.get(f"{site}_mean")
    if mean is None:
        return row | {"scale": "?", "map_rate": np.empty(0)} | dict.fromkeys(SIZES, np.nan)
    own = [dim for dim in mean.dims if dim not in ("image", *SAMPLE_DIMS)]
    sizes = [mean.sizes[dim] for dim in own]
    activity = mean.astype(float).var("image", ddof=1).mean(own[1:]) if mean.sizes["image"] > 1 else None
    active = np.nan if activity is None else float((activity > min_activity).sum())
    latents = float(sizes[0]) if sizes else 1.0
    by_map = np.empty(0)
    if own and own[0] in kl.dims:
        by_map = kl.sum([dim for dim in kl.dims if dim in own[1:]], skipna=False).mean("image", skipna=False).values
    return row | {
        "latents": latents,
        "entries": float(np.prod(sizes)),
        "active_units": active,
        "scale": "×".join(map(str, sizes[1:])) or "vector",
        "map_rate": by_map,
    }
