"""A fitted pair's posterior as an ArviZ DataTree."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyro
import torch
import xarray as xr
from arviz_base import make_attrs
from pyro import poutine

from ppvae.errors import UserError, check_whole
from ppvae.evaluation import device_of, evaluating, unit_of
from ppvae.pairs import check_images, check_sites
from ppvae.terms import (
    Site,
    best_rate,
    event_dims,
    latent_sites,
    observed_sites,
    pair_traces,
    recorded_sites,
    scaled,
)

__all__ = ["from_pyro_svi"]

NATS = ("log_p", "log_q", "elbo", "kl")  # names that no site may have
type Arrays = dict[str, tuple[tuple[str, ...], torch.Tensor]]


def from_pyro_svi(
    model: Callable,
    guide: Callable,
    images: torch.Tensor,
    num_samples: int = 64,
    *,
    posterior_predictive: bool = False,
    constant_data: xr.Dataset | None = None,
    coords: Mapping[str, Any] | None = None,
    sample_dims: tuple[str, ...] = ("chain", "draw"),
    batch_size: int = 1024,
    seed: int = 0,
) -> xr.DataTree:
    """Draw from q(z | x) for each image and return a DataTree with ArviZ's groups.

    Shapes: images (image, C, H, W), as the pair takes them, on any device.
    ``posterior``: the latent sites (chain, draw, image, *event dims). ``prior``: 1 024 draws of them from p(z).
    ``log_likelihood``: log p(x | z) (chain, draw, image). ``sample_stats``: ``log_p`` = log p(x, z) and ``log_q`` =
    log q(z | x) (chain, draw, image), ``elbo`` (image), ``kl`` (image, latent) in closed form where one is registered,
    the mean and variance of each latent site under q(z | x), and the guide's recorded sites. ``observed_data``.
    ``constant_data``: what is given, for example factors, with their ``image`` coordinate. ``posterior_predictive``
    on request (each draw holds every pixel). Everything is in nats, under the programs' scales and masks.

    ``sample_dims``: ``("chain", "draw")`` with one chain, which ``az.summary`` and ``az.loo`` need, or ``("sample",)``.
    ``batch_size``: images × draws decoded at a time, the bound on memory. The modules, the random state and the
    parameter store stay as they were; one ``seed`` (and ``batch_size``) gives one result.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, or arguments out of range.
    """
    check_images(images, model, guide)
    check_whole("num_samples", num_samples, 1)
    check_whole("batch_size", batch_size, 1)
    if sample_dims not in (("chain", "draw"), ("sample",)):
        raise UserError(f"sample_dims is {sample_dims}; expected ('chain', 'draw') or ('sample',)")
    if constant_data is not None and constant_data.sizes.get("image", len(images)) != len(images):
        raise UserError(f"constant_data has {constant_data.sizes['image']} images, there are {len(images)}")
    chunks, device = images.split(max(1, batch_size // num_samples)), device_of(model, guide)
    with evaluating(model, guide, device=device, seed=seed), pyro.validation_enabled(False):
        check_sites(model, guide, images[:1].to(device))
        parts = [_groups(model, guide, x.to(device), num_samples, posterior_predictive) for x in chunks]
        prior, prior_variances = _prior(model, images[:1].to(device))
    _check_coords(coords or {}, parts[0], len(images))
    groups = {name: _dataset([part[name] for part in parts], sample_dims, unit_of(model)) for name in parts[0]}
    groups["prior"] = _dataset([prior], sample_dims, unit_of(model))
    for site, variance in prior_variances.items():
        groups["sample_stats"][f"{site}_variance"].attrs["prior_variance"] = variance
    if constant_data is not None:
        groups["constant_data"] = constant_data.drop_vars("image", errors="ignore")
        if "image" in constant_data.coords:  # a subset keeps its images' names, so that factors stay with their codes
            coords = {"image": constant_data["image"].values, **(coords or {})}
    tree = xr.DataTree.from_dict({name: _labelled(group, coords) for name, group in groups.items()})
    tree.attrs.update(make_attrs({"num_samples": num_samples, "seed": seed}, inference_library=pyro))
    return tree


def _groups(model: Callable, guide: Callable, images: torch.Tensor, draws: int, predictive: bool) -> dict[str, Arrays]:
    """All groups for a few images; arrays with draws begin with dims (draw, image), the others with (image,)."""
    with pyro.plate("draws", draws, dim=-2):
        guide_trace, model_trace = pair_traces(model, guide, images)
    latents = latent_sites(guide_trace)
    posterior: Arrays = {s["name"]: (("draw", "image", *event_dims(s)), s["value"]) for s in latents}
    likelihoods = {s["name"]: _log_prob(s) for s in observed_sites(model_trace)}
    log_q = sum(map(_log_prob, latents))
    log_p = sum(likelihoods.values()) + sum(map(_log_prob, latent_sites(model_trace)))
    statistics: Arrays = {
        "log_p": (("draw", "image"), log_p),
        "log_q": (("draw", "image"), log_q),
        "elbo": (("image",), (log_p - log_q).mean(0)),
        **_kls(latents, model_trace),
        **_moments(latents),
        **{s["name"]: (("image", *event_dims(s)), s["value"]) for s in recorded_sites(guide_trace)},
    }
    observed = observed_sites(model_trace)
    groups = {
        "posterior": posterior,
        "sample_stats": statistics,
        "log_likelihood": {name: (("draw", "image"), value) for name, value in likelihoods.items()},
        "observed_data": {s["name"]: (("image", *event_dims(s)), s["value"]) for s in observed},
    }
    if predictive:
        groups["posterior_predictive"] = {
            s["name"]: (("draw", "image", *event_dims(s)), s["fn"].sample()) for s in observed
        }
    return groups


def _log_prob(site: Site) -> torch.Tensor:
    return scaled(site, site["fn"].log_prob(site["value"]))


def _kls(latents: list[Site], model_trace: poutine.Trace) -> Arrays:
    """KL of each latent, summed over sites that share their dims: closed form, else the mean over draws."""
    kls: dict[tuple[str, ...], torch.Tensor] = {}
    for site in latents:
        kl = best_rate(site, model_trace.nodes.get(site["name"]))
        dims = event_dims(site)[: kl.dim() - 2]
        kls[dims] = kls.get(dims, 0) + kl.mean(0)
    return {"kl" if len(kls) == 1 else "kl_" + ("_".join(d) or "joint"): (("image", *d), kl) for d, kl in kls.items()}


def _moments(latents: list[Site]) -> Arrays:
    """Mean and variance of each site under q(z | x), by the law of total expectation over earlier sites' draws."""
    moments: Arrays = {}
    for site in latents:
        dims, (mean, variance) = event_dims(site), _mean_and_variance(site)
        moments[f"{site['name']}_mean"] = (("image", *dims), mean.mean(0))
        moments[f"{site['name']}_variance"] = (("image", *dims), variance.mean(0) + mean.var(0, correction=0))
    return moments


def _mean_and_variance(site: Site) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the site's distribution: in closed form where it has one, else those of 256 draws."""
    try:
        return site["fn"].mean, site["fn"].variance
    except NotImplementedError:
        draws = site["fn"].sample((256,))
        if not draws.is_floating_point():
            return site["value"], torch.zeros_like(site["value"])
        return draws.mean(0), draws.var(0)


def _prior(model: Callable, images: torch.Tensor, draws: int = 1024) -> tuple[Arrays, dict[str, float]]:
    """Draws of each latent site from p(z), and its variance there by the law of total variance over its parents."""
    with pyro.plate("draws", draws, dim=-2):
        trace = poutine.trace(poutine.uncondition(model)).get_trace(images)
    prior, variances = {}, {}
    for site in latent_sites(trace):
        if site["infer"].get("was_observed"):
            continue
        prior[site["name"]] = (("draw", *event_dims(site)), site["value"][:, 0])
        if site["value"].is_floating_point():
            variances[site["name"]] = _prior_variance(site)
    return prior, variances


def _prior_variance(site: Site) -> float:
    """Mean over the latents of their variance under p(z): over draws of their parents, else over those of z."""
    try:
        mean, variance = (moment.flatten(0, 1) for moment in (site["fn"].mean, site["fn"].variance))
    except NotImplementedError:
        return float(site["value"].flatten(0, 1).var(0).mean())
    return float((variance.mean(0) + mean.var(0, correction=0)).mean())


def _dataset(parts: list[Arrays], sample_dims: tuple[str, ...], units: str) -> xr.Dataset:
    """Chunks joined along ``image``; the draw dim becomes ``sample_dims``."""
    variables = {}
    for name, (dims, _) in parts[0].items():
        arrays = [part[name][1].cpu() for part in parts]
        joined = (torch.cat(arrays, dims.index("image")) if len(arrays) > 1 else arrays[0]).numpy()
        if dims[0] == "draw":
            joined = joined[None] if len(sample_dims) == 2 else joined
            dims = (*sample_dims, *dims[1:])
        variables[name] = (dims, joined, {"units": units} if name in NATS or name.startswith("kl_") else {})
    return xr.Dataset(variables)


def _check_coords(coords: Mapping[str, Any], part: dict[str, Arrays], images: int) -> None:
    """UserError for a dim that no variable has, or values of another number than the dim's size."""
    sizes = {d: n for group in part.values() for dims, a in group.values() for d, n in zip(dims, a.shape, strict=True)}
    sizes["image"] = images
    for dim, values in coords.items():
        if dim not in sizes:
            raise UserError(f"coords has {dim!r}; expected one of the dims {', '.join(sizes)}")
        if len(values) != sizes[dim]:
            raise UserError(f"coords has {len(values)} values for {dim!r}; expected {sizes[dim]}")


def _labelled(group: xr.Dataset, coords: Mapping[str, Any] | None) -> xr.Dataset:
    given = {dim: values for dim, values in (coords or {}).items() if dim in group.dims}
    default = {dim: np.arange(size) for dim, size in group.sizes.items() if dim not in given}
    return group.assign_coords({**default, **given})
