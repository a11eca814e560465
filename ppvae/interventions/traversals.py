"""Latents moved by hand: one at a time over the range of its codes, or two over their plane.

All latent sites are set: those that an intervention is not about stay at their posterior. A likelihood without a mean
is shown by draws of one noise (:func:`~ppvae.interventions.shown`), and the attribute ``shown`` says so.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr

from ppvae.diagnostics.contents import chosen_code, kl_of
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.interventions.decoding import decoded, dependent, in_parts, joined, labelled, picture, sites_before
from ppvae.interventions.held import by_latent, data_of, held, images_of, unit_dims
from ppvae.interventions.pictures import Shown
from ppvae.pair.sites import discrete, parameter_of
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["latent_grid", "traverse"]


def traverse(
    model: Callable, tree: xr.DataTree, *, image: int = 0, steps: int = 9, site: str | None = None
) -> xr.DataArray:
    """One image redrawn with each latent moved over the range of its codes, latents sorted by their KL, or by the
    variance of their codes where the pair has one KL as a whole.

    ``site``: whose latents, by default those of the only code; all other sites stay at the image's posterior, but those
    that depend on it, as z_1 does on z_2: they are drawn anew from the model, of one noise, and the attribute
    ``dependent`` names them. Values of a latent run between the 1 % and 99 % quantiles of its posterior means over the
    images; of a feature map each entry does, all at once. Returns (latent, step, channel, row, column) with coords
    ``latent`` (largest first), ``kl`` (latent), nats, where there is one, and ``value`` (latent, step), of a map the
    mean over its entries.
    """
    check_whole("steps", steps, 1)
    site = chosen_code(tree, site)
    data, values = data_of(tree), held(tree)
    if not 0 <= image < len(data[0]):
        raise UserError(f"image is {image}; expected an index below {len(data[0])}")
    codes, kl = by_latent(values[site]), kl_of(tree, site)
    path = _path(codes, steps)
    order = np.argsort(-(codes.var(0, correction=0).sum(-1).numpy() if kl is None else kl.values), kind="stable")
    moved = _moved(codes[image], path, order).reshape(-1, *values[site].shape[1:])
    name = str(images_of(tree).name)
    below = dependent(model, name, site, values, *data)
    others = {other: _repeated(value[image], len(moved)) for other, value in values.items() if other not in below}
    same = (_repeated(tensor[image], len(moved)) for tensor in data)
    drawn = joined(decoded(model, picture, name, {**others, site: moved}, *same))
    dims = unit_dims(tree, site)
    coords = {
        "latent": tree["sample_stats"][dims[0]].values[order] if dims else [0],
        "value": (("latent", "step"), path.mean(-1).numpy()[order]),
        **({} if kl is None else {"kl": ("latent", kl.values[order])}),
    }
    pictures = Shown(drawn.images.unflatten(0, (len(order), steps)), drawn.drawn)
    return labelled(pictures, ("latent", "step"), coords, image=image, site=site, dependent=below)


def _path(codes: torch.Tensor, steps: int) -> torch.Tensor:
    """The values that each latent takes: codes (image, latent, entry) → (latent, step, entry)."""
    low, high = np.quantile(codes.numpy(), [0.01, 0.99], axis=0)  # torch's takes no more than 2²⁴ numbers
    return torch.from_numpy(np.linspace(low, high, steps, axis=1).astype(low.dtype))


def _moved(code: torch.Tensor, path: torch.Tensor, order: np.ndarray) -> torch.Tensor:
    """One image's code (latent, entry), with one latent after the other on its path: (latent · step, latent, entry)."""
    moved = code.repeat(len(order), path.shape[1], 1, 1)
    for row, latent in enumerate(order):
        moved[row, :, latent] = path[latent]
    return moved.flatten(0, 1)


def _repeated(values: torch.Tensor, count: int) -> torch.Tensor:
    return values.expand(count, *values.shape)


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
    drawn = joined(in_parts(model, lambda z: picture(sites_before(model, "x", z, size=len(z[site]))[-1]), codes))
    pictures = Shown(drawn.images.unflatten(0, up.shape), drawn.drawn)
    return labelled(pictures, ("z1", "z0"), {"z1": axis.numpy(), "z0": axis.numpy()}, site=site)


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
