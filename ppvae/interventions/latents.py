"""What the model draws when latents are set by hand: reconstruction, ablation, traversal, a plane of latents.

All latent sites are set: those that an intervention is not about stay at their posterior. A likelihood without a mean
is shown by draws of one noise (:func:`~ppvae.interventions.shown`), and the attribute ``shown`` says so.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import xarray as xr

from ppvae.diagnostics.contents import chosen_code, event_dims_of, group_of, kl_of
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.interventions.decoding import PIXELS, decoded, in_parts, joined, sites_before
from ppvae.interventions.held import held, observation_of
from ppvae.interventions.pictures import Shown, mean_of, shown
from ppvae.pair.sites import Site, discrete, parameter_of, scaled
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["ablate", "latent_grid", "reconstruct", "traverse"]


def reconstruct(model: Callable, tree: xr.DataTree, *, draw: int | None = None) -> xr.DataArray:
    """Mean of p(x | z) at the posterior means of all latent sites, or at one ``draw`` of them, for each image.

    Returns (image, channel, row, column). Discrete sites are held at their most probable value.
    Errors: :class:`~ppvae.errors.UserError` for a tree that is not of this model's images.
    """
    name, images, observed = observation_of(tree)
    parts = decoded(model, _picture, name, held(tree, draw), images)
    return _labelled(joined(parts), ("image",), {"image": observed["image"]})


def ablate(model: Callable, tree: xr.DataTree, *, site: str | None = None) -> xr.Dataset:
    """How much worse each image is drawn when one latent is replaced by its mean over the images.

    ``site``: whose latents; by default the only code. A latent of a site of maps is a whole feature map, a discrete
    site one latent, replaced by its most frequent value. Returns over the site's first dim: ``worsening``, the rise of
    −log p(x | z) in nats per image, and ``relative``, the squared error with the latent ablated over the squared error
    without, minus one (left out where the likelihood has no mean). Everything else is at the posterior means.
    """
    site = _any_site(tree, site)
    (name, images, _), values = observation_of(tree), held(tree)
    found = np.array([_scores(model, name, {**values, site: z}, images) for z in _ablated(values[site], tree, site)])
    rises, dims = found[1:] - found[0], _units(tree, site)
    shape = [tree["sample_stats"].sizes[dim] for dim in dims]
    variables = {"worsening": (dims, rises[:, 0].reshape(shape), {"units": "nats per image"})}
    attributes = {"site": site, "images": len(images), "distortion": found[0, 0]}
    if not np.isnan(found[0, 1]):
        relative = (found[1:, 1] / found[0, 1] - 1).reshape(shape)
        variables["relative"] = (dims, relative, {"long_name": "relative rise of the squared error"})
        attributes["squared_error"] = found[0, 1]
    return xr.Dataset(variables, {dim: tree["sample_stats"][dim] for dim in dims}, attributes)


def traverse(
    model: Callable, tree: xr.DataTree, *, image: int = 0, steps: int = 9, site: str | None = None
) -> xr.DataArray:
    """One image redrawn with each latent moved over the range of its codes, latents sorted by their KL, or by the
    variance of their codes where the pair has one KL as a whole.

    ``site``: whose latents, by default those of the only code; all other sites stay at the image's posterior. Values of
    a latent run between the 1 % and 99 % quantiles of its posterior means over the images; of a feature map each entry
    does, all at once. Returns (latent, step, channel, row, column) with coords ``latent`` (largest first), ``kl``
    (latent), nats, where there is one, and ``value`` (latent, step), of a map the mean over its entries.
    """
    check_whole("steps", steps, 1)
    site = chosen_code(tree, site)
    (name, images, _), values = observation_of(tree), held(tree)
    if not 0 <= image < len(images):
        raise UserError(f"image is {image}; expected an index below {len(images)}")
    codes = _by_latent(values[site])  # (image, latent, entry)
    low, high = np.quantile(codes.numpy(), [0.01, 0.99], axis=0)
    path = torch.from_numpy(np.moveaxis(np.linspace(low, high, steps), 0, 1).astype(low.dtype))
    kl = kl_of(tree, site)
    order = np.argsort(-(codes.var(0, correction=0).sum(-1).numpy() if kl is None else kl.values), kind="stable")
    moved = codes[image].repeat(len(order), steps, 1, 1)  # (latent, step, latent, entry)
    for row, latent in enumerate(order):
        moved[row, :, latent] = path[latent]
    count = len(order) * steps
    others = {other: value[image].expand(count, *value.shape[1:]) for other, value in values.items()}
    held_else = {**others, site: moved.reshape(count, *values[site].shape[1:])}
    drawn = joined(decoded(model, _picture, name, held_else, images[image].expand(count, *images.shape[1:])))
    dims = _units(tree, site)
    coords = {
        "latent": tree["sample_stats"][dims[0]].values[order] if dims else [site],
        "value": (("latent", "step"), path.mean(-1).numpy()[order]),
        **({} if kl is None else {"kl": ("latent", kl.values[order])}),
    }
    pictures = Shown(drawn.images.unflatten(0, (len(order), steps)), drawn.drawn)
    return _labelled(pictures, ("latent", "step"), coords, image=image, site=site)


def latent_grid(model: Callable, values: Sequence[float] | None = None, *, site: str | None = None) -> xr.DataArray:
    """Mean of p(x | z) over the plane of a two-latent model: (z1, z0, channel, row, column).

    ``values`` of each latent; by default the 2.5 % to 97.5 % quantiles of N(0, 1) in 15 steps of equal probability.
    ``site``: by default the only one of two latents; all others are at their mean under the prior.
    Errors: :class:`~ppvae.errors.UserError` for no values, or a model whose ``site`` is missing or not of two latents.
    """
    site = _plane(model, site)
    if values is None:
        values = torch.special.ndtri(torch.linspace(0.025, 0.975, 15, dtype=torch.float64)).tolist()
    if not len(values):
        raise UserError("values is empty; expected one number or more, those that each latent takes")
    axis = torch.tensor(values, dtype=torch.get_default_dtype())
    up, across = torch.meshgrid(axis, axis, indexing="ij")
    codes = {site: torch.stack([across, up], -1).flatten(0, 1)}
    drawn = joined(in_parts(model, lambda z: _picture(sites_before(model, "x", z, size=len(z[site]))[-1]), codes))
    pictures = Shown(drawn.images.unflatten(0, up.shape), drawn.drawn)
    return _labelled(pictures, ("z1", "z0"), {"z1": axis.numpy(), "z0": axis.numpy()}, site=site)


def _plane(model: Callable, site: str | None) -> str:
    """The site of two latents."""
    with evaluating(model, device=device_of(model), seed=0):
        passed = sites_before(model, "x", {}, size=1)[:-1]
    codes = {s["name"]: tuple(s["fn"].event_shape) for s in passed if not (discrete(s) or parameter_of(s))}
    if site is None:
        planes = [name for name, shape in codes.items() if shape == (2,)]
        site = planes[0] if len(planes) == 1 else next(iter(codes)) if len(codes) == 1 else None
    check_choice("site", site, codes)
    if codes[site] != (2,):
        shape = codes[site]
        raise UserError(f"site {site!r} has event shape {shape}; latent_grid draws a plane of two latents, shape (2,)")
    return site


def _picture(site: Site, *_data: torch.Tensor) -> Shown:
    return shown(site["fn"])


def _labelled(pictures: Shown, dims: tuple[str, ...], coords: dict, **attributes: object) -> xr.DataArray:
    inner = pictures.images.dim() - len(dims)
    pixels = PIXELS if inner == len(PIXELS) else tuple(f"x_dim_{k}" for k in range(inner))
    kind = "draws of p(x | z) under one noise" if pictures.drawn else "mean of p(x | z)"
    attributes = {"shown": kind, **attributes}
    return xr.DataArray(pictures.images.numpy(), coords, (*dims, *pixels), "x", attributes)


def _any_site(tree: xr.DataTree, site: str | None) -> str:
    if site is None:
        return chosen_code(tree, None)
    check_choice("site", site, list(map(str, group_of(tree, "posterior"))))
    return site


def _units(tree: xr.DataTree, site: str) -> tuple[str, ...]:
    """The dim that numbers a site's latents, its first; none of a site that is one latent."""
    return () if f"{site}_mode" in tree["sample_stats"] else event_dims_of(tree, site)[:1]


def _by_latent(values: torch.Tensor) -> torch.Tensor:
    """A site's values (image, *event dims) as (image, latent, entry): the entries of a feature map, or one."""
    return values.reshape(len(values), values.shape[1] if values.dim() > 1 else 1, -1)


def _ablated(values: torch.Tensor, tree: xr.DataTree, site: str) -> Iterator[torch.Tensor]:
    """The site's values as they are, then with each latent in turn the same for all images."""
    yield values
    if f"{site}_mode" in tree["sample_stats"]:
        kinds, counts = values.unique(dim=0, return_counts=True)
        yield kinds[counts.argmax()].expand_as(values)
        return
    for latent in range(_by_latent(values).shape[1]):
        ablated = _by_latent(values).clone()
        ablated[:, latent] = ablated[:, latent].mean(0)
        yield ablated.reshape(values.shape)


def _scores(model: Callable, name: str, values: dict[str, torch.Tensor], images: torch.Tensor) -> np.ndarray:
    """Mean −log p(x | z) and mean squared error summed over pixels, per image; NaN where there is no mean."""
    return torch.cat(decoded(model, _score, name, values, images)).double().mean(0).numpy()


def _score(site: Site, images: torch.Tensor) -> torch.Tensor:
    log_p = scaled(site, site["fn"].log_prob(images))
    mean = mean_of(site["fn"])
    error = torch.full_like(log_p, torch.nan) if mean is None else (mean - images).square().flatten(1).sum(1)
    return torch.stack([-log_p, error], -1).cpu()
