"""The average KL cut in parts: what the codes say about the images, and how far their cloud is from the prior."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine

from ppvae.checks import check_data, check_sites
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.pair.program import Data
from ppvae.pair.sites import Site, elementwise, event_dims, latent_sites
from ppvae.pair.terms import pair_traces
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["Codes", "chunks_of", "cut", "elbo_surgery", "estimate", "scores_of"]

IMAGES = 256  # that a guide's networks see at a time
type Scores = tuple[
    torch.Tensor, torch.Tensor | None
]  # joint (..., ), and by latent (..., latent) where they factorise


def elbo_surgery(
    model: Callable,
    guide: Callable,
    images: Data | ImageDataset,
    num_samples: int = 1,
    *,
    batch_size: int = 65_536,
    seed: int = 0,
) -> xr.Dataset:
    """The average rate in two parts, with q(z) = (1/N) Σ_j q(z | x_j), the aggregated posterior of these N images.

    (1/N) Σ_i KL(q(z | x_i) ‖ p(z)) = I(z; i) + KL(q(z) ‖ p(z)), and where one site's latents are independent in guide
    and prior, KL(q(z) ‖ p(z)) = KL(q(z) ‖ Πₖ q(zₖ)) + Σₖ KL(q(zₖ) ‖ p(zₖ)). Each is a mean over ``num_samples`` draws
    z_i ~ q(z | x_i) an image, one set for all, so that the sums hold exactly. Densities are the programs' own, without
    their scales and masks. All sites count, those of hierarchies too: the guide is run with its sites' values given.

    Returns scalars in nats: ``average_kl``, ``mutual_information``, ``marginal_kl``, each with ``*_error``; where the
    latents are independent ``total_correlation`` and, over the site's event dims, ``dimension_kl``.
    ``mutual_information`` can never exceed log N, the attribute ``cap``: near it, N images are too few, and what is
    missing is found in ``marginal_kl`` instead. Errors are standard errors as over new images and draws, q(z) changing
    with them (infinitesimal jackknife); NaN for one image.

    Shapes: images (image, C, H, W), as the pair takes them, or a tuple of them and what else it takes of each: then
    q(z) is still that of all images, each under its own. The guide scores N² · ``num_samples`` pairs, ``batch_size``
    at a time, the bound on memory (at least N). Modules, random state and parameter store stay as they were; one
    ``seed`` (and number of images) gives one result.

    Errors: :class:`~ppvae.errors.UserError` for images that the pair cannot take, arguments out of range, or a guide
    with latent sites that the model lacks.
    Sources: Hoffman and Johnson 2016, "ELBO surgery", Eqs. 6 to 8; Chen et al. 2018, Eq. 2.
    """
    inputs = check_data(images, model, guide, seed=seed)
    return cut(model, guide, inputs, num_samples, batch_size=batch_size, seed=seed)[0]


class Codes(NamedTuple):
    """Draws of each site, (draw · image, ...), and log q(z) of them among all images, (draw · image,)."""

    values: dict[str, torch.Tensor]
    log_q: torch.Tensor


def cut(
    model: Callable, guide: Callable, inputs: tuple[torch.Tensor, ...], num_samples: int, *, batch_size: int, seed: int
) -> tuple[xr.Dataset, Codes]:
    """What :func:`elbo_surgery` returns, and the draws that it is of."""
    count = len(inputs[0])
    check_whole("num_samples", num_samples, 1)
    check_whole("batch_size", batch_size, 1)
    device = device_of(model, guide)
    chunks = chunks_of(inputs, device)
    with evaluating(model, guide, device=device, seed=seed), pyro.validation_enabled(False):
        _check_shared(model, guide, tuple(values[:1] for values in chunks[0]))
        parts = [_drawn(model, guide, chunk, num_samples) for chunk in chunks]
        values = {name: torch.cat([part[0][name] for part in parts], 1).flatten(0, 1) for name in parts[0][0]}
        log_p, dims = _joined([part[1] for part in parts]), parts[0][2]
        step = max(1, batch_size // count)
        *scores, latents = _aggregate(guide, chunks, values, step, log_p[1] is not None)
    joint, own, pull, prior = (score.double().reshape(-1, count).mean(0).cpu().numpy() for score in (*scores, log_p[0]))
    found = {
        "average_kl": (own - prior, own - prior),
        "mutual_information": (own - joint, own - joint - pull),
        "marginal_kl": (joint - prior, joint - prior + pull),
    }
    variables = {}
    for name, (terms, influence) in found.items():
        variables |= estimate(name, terms, influence, LONG_NAMES[name])
    if log_p[1] is not None:
        variables |= _by_latent(*scores[:1], latents, log_p[1].flatten(0, 1), dims)
    dataset = xr.Dataset(variables, attrs={"cap": math.log(count), "images": count, "seed": seed})
    dataset = dataset.assign_coords({dim: np.arange(size) for dim, size in dataset.sizes.items()})
    return dataset, Codes(values, scores[0])


def chunks_of(inputs: tuple[torch.Tensor, ...], device: torch.device) -> list[tuple[torch.Tensor, ...]]:
    """The inputs in parts of as many images as a guide's networks see at a time."""
    return list(zip(*(values.to(device).split(IMAGES) for values in inputs), strict=True))


def estimate(name: str, terms: np.ndarray, influence: np.ndarray, long_name: str) -> dict[str, tuple]:
    """The mean of a term (image,) in nats, and its standard error by each image's influence, NaN of one image."""
    count = len(terms)
    error = influence.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
    return {
        name: ((), terms.mean(), {"long_name": long_name, "units": "nats"}),
        f"{name}_error": ((), error, {"long_name": f"standard error of the {long_name}", "units": "nats"}),
    }


LONG_NAMES = {
    "average_kl": "average KL of q(z|x) from the prior",
    "mutual_information": "mutual information of code and image, at most log N",
    "marginal_kl": "KL of the aggregated posterior from the prior",
}


def _by_latent(
    joint: torch.Tensor, latents: torch.Tensor, prior: torch.Tensor, dims: tuple[str, ...]
) -> dict[str, tuple]:
    """Total correlation and each latent's KL, from log q(z) (draw,), log q(zₖ) and log p(zₖ) (draw, latent)."""
    joint, latents, prior = (score.double().cpu().numpy() for score in (joint, latents, prior))
    total = (joint - latents.reshape(len(joint), -1).sum(1)).mean()
    long_names = "total correlation of the aggregated posterior", "KL of each latent's aggregated posterior"
    return {
        "total_correlation": ((), total, {"long_name": long_names[0], "units": "nats"}),
        "dimension_kl": (dims, (latents - prior).mean(0), {"long_name": long_names[1], "units": "nats"}),
    }


def _check_shared(model: Callable, guide: Callable, image: tuple[torch.Tensor, ...]) -> None:
    drawn, _, _ = check_sites(model, guide, image)
    alone = [s["name"] for s in latent_sites(poutine.trace(guide).get_trace(*image)) if s["name"] not in drawn]
    if alone:
        raise UserError(
            f"the guide draws {', '.join(map(repr, alone))}, which the model lacks: q(z) would need its integral; "
            "use a guide without auxiliary sites"
        )


def _drawn(
    model: Callable, guide: Callable, data: tuple[torch.Tensor, ...], draws: int
) -> tuple[dict[str, torch.Tensor], Scores, tuple[str, ...]]:
    """The guide's draws (draws, image, ...), log p(z) of them, and the dims of a single site whose latents factorise
    (by which log p comes then too)."""
    with pyro.plate("draws", draws, dim=-2):
        guide_trace, model_trace = pair_traces(model, guide, data)
    sites = latent_sites(guide_trace)
    scored = [model_trace.nodes[site["name"]] for site in sites]
    joint = sum(site["fn"].log_prob(site["value"]) for site in scored)
    split = None
    if len(sites) == 1:
        q, p = elementwise(sites[0]["fn"], scored[0]["fn"])
        if sites[0]["fn"].event_shape and not q.event_shape and not p.event_shape:
            split = p.log_prob(sites[0]["value"])
    return {site["name"]: site["value"] for site in sites}, (joint, split), event_dims(sites[0])


def _joined(parts: list[Scores]) -> Scores:
    splits = [split for _, split in parts if split is not None]
    return torch.cat([joint for joint, _ in parts], 1), torch.cat(splits, 1) if splits else None


def _aggregate(
    guide: Callable, chunks: list[tuple[torch.Tensor, ...]], values: dict[str, torch.Tensor], step: int, split: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """log q(z_i) and log q(z_i | x_i) of draws (draw · image, ...); each image's pull on log q, the mean over draws of
    Σ_i q(z_i | x_j) / N q(z_i), less one; and log q(z_ik), (draw · image, latent), where the latents factorise."""
    count, rows = sum(len(chunk[0]) for chunk in chunks), len(next(iter(values.values())))
    joint, own, latents, pull = [], [], [], 0.0
    for start in range(0, rows, step):
        some = {name: value[start : start + step, None] for name, value in values.items()}
        scores = [scores_of(guide, chunk, some, split) for chunk in chunks]
        block = torch.cat([score[0] for score in scores], 1)  # (i, j)
        total = block.logsumexp(1)
        places = torch.arange(start, start + len(block), device=block.device) % count
        joint.append(total - math.log(count))
        own.append(block.gather(1, places[:, None])[:, 0])
        pull = pull + (block - total[:, None]).exp().sum(0)
        if split:
            each = torch.stack([score[1] for score in scores])  # log-sums over each chunk's images
            latents.append(each.logsumexp(0) - math.log(count))
    return torch.cat(joint), torch.cat(own), pull * count / rows - 1, torch.cat(latents) if split else None


def scores_of(guide: Callable, data: tuple[torch.Tensor, ...], rows: dict[str, torch.Tensor], split: bool) -> Scores:
    """log q(z_i | x_j), (i, j), of given values (i, 1 or j, ...); and log Σ_j q(z_ik | x_j), (i, latent)."""
    given = {name: value.expand(len(value), len(data[0]), *value.shape[2:]) for name, value in rows.items()}
    count = len(next(iter(rows.values())))
    with pyro.plate("draws", count, dim=-2):
        trace = poutine.trace(poutine.condition(guide, data=given)).get_trace(*data)
    sites: list[Site] = [trace.nodes[name] for name in given]
    if not split:  # NaN: a flow's inverse overflows, the noise is beyond any that was drawn
        return sum(_or_zero(site["fn"].log_prob(site["value"])) for site in sites), None
    terms = sites[0]["fn"].base_dist.log_prob(sites[0]["value"])
    return terms.flatten(2).sum(-1), terms.logsumexp(1)


def _or_zero(log_density: torch.Tensor) -> torch.Tensor:
    """Density zero where it is not a number; an image's own code then leaves no finite result."""
    return log_density.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
