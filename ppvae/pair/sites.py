"""The sample sites of a program's trace: which are latent, observed or recorded, and what their dims are called."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch.distributions import Distribution, Independent

__all__ = [
    "Arrays",
    "Named",
    "Site",
    "by_code",
    "discrete",
    "elementwise",
    "enumerated",
    "event_dims",
    "kl_names",
    "latent_sites",
    "local",
    "observed_sites",
    "parameter_of",
    "recorded_sites",
    "sample_sites",
    "scale_of",
    "scaled",
    "weighed_sites",
]

Site = dict[str, Any]
type Named = tuple[tuple[str, ...], torch.Tensor]
"""Values with the names of their dims: all of them, or a site's own, which are the last."""

type Arrays = dict[str, Named]


def sample_sites(trace: poutine.Trace) -> list[Site]:
    """Sample sites in program order, plates left out."""
    subsample = "_Subsample"
    return [s for s in trace.nodes.values() if s["type"] == "sample" and type(s["fn"]).__name__ != subsample]


def latent_sites(trace: poutine.Trace) -> list[Site]:
    """Sample sites whose value was drawn, those marked ``nuisance`` left out, whose density cancels."""
    return [site for site in sample_sites(trace) if not site["is_observed"] and not site["infer"].get("nuisance")]


def weighed_sites(guide_trace: poutine.Trace) -> list[Site]:
    """A guide's sites that log q counts, as Pyro's ELBO does: its latents, and auxiliary sites that it observes."""
    kept = {id(site) for site in latent_sites(guide_trace)}
    aside = {id(s) for s in observed_sites(guide_trace) if s["infer"].get("is_auxiliary")}
    return [site for site in sample_sites(guide_trace) if id(site) in kept | aside]


def observed_sites(trace: poutine.Trace) -> list[Site]:
    """Sample sites whose value was given, deterministic ones left out."""
    return [s for s in sample_sites(trace) if s["is_observed"] and not s["infer"].get("_deterministic")]


def recorded_sites(trace: poutine.Trace) -> list[Site]:
    """Deterministic sites."""
    return [site for site in sample_sites(trace) if site["infer"].get("_deterministic")]


def event_dims(site: Site) -> tuple[str, ...]:
    """Names of the event dims that the program declares, else ``<site>_dim_0`` and so on, as ArviZ names them."""
    default = [f"{site['name']}_dim_{i}" for i in range(site["fn"].event_dim)]
    return tuple(site["infer"].get("event_dims", default))


def discrete(site: Site) -> bool:
    """Whether the site's values can be counted, such as a cluster."""
    return site["fn"].has_enumerate_support


def enumerated(site: Site) -> bool:
    """Whether the site takes all its values, along a batch dim of its own."""
    return site["infer"].get("_enumerate_dim") is not None


def scale_of(site: Site) -> float | torch.Tensor:
    """The site's ``poutine.scale``; a plate of images that subsamples adds none, for terms are of each image."""
    factors = [f.full_size / f.size for f in site["cond_indep_stack"] if f.dim == -1 and f.full_size]
    return site["scale"] / math.prod(factors) if any(factor != 1 for factor in factors) else site["scale"]


def scaled(site: Site, term: torch.Tensor) -> torch.Tensor:
    """A site's term under its ``poutine.scale`` and ``poutine.mask``; term (*batch dims, *further dims)."""
    mask = site["mask"]
    if isinstance(mask, torch.Tensor):
        mask = mask.reshape(mask.shape + (1,) * (term.dim() - len(site["fn"].batch_shape)))
    return scale_and_mask(term, scale_of(site), mask)


def elementwise(
    q: Distribution, p: Distribution, value: torch.Tensor | None = None
) -> tuple[Distribution, Distribution]:
    """Both without their ``Independent`` wrapper where they factorise alike, so that terms come latent by latent.

    With a ``value`` drawn from q, a p whose entries depend on those before them stands by its conditionals
    ``p.given(value)`` where q factorises: their density at the value is that of p, and the sum of KLs from them is in
    expectation the KL from p. They say nothing about p's marginals.
    """
    if not isinstance(q, Independent):
        return q, p
    if value is not None and hasattr(p, "given") and not q.base_dist.event_shape:
        p = p.given(value)
    if isinstance(p, Independent) and q.reinterpreted_batch_ndims == p.reinterpreted_batch_ndims:
        return q.base_dist, p.base_dist
    return q, p


def local(site: Site) -> bool:
    """Whether each image has a value of its own: the site is in a plate at dim −1, or has a batch dim there."""
    plates = any(frame.vectorized and frame.dim == -1 for frame in site["cond_indep_stack"])
    return plates or site["fn"].batch_shape[-1:] not in ((), (1,))


def parameter_of(site: Site) -> str | None:
    """The code whose distribution the site is a parameter of, as a precision is of z: ``infer={"parameter_of": "z"}``.

    Its KL is counted in that code's, and it is no latent of its own.
    """
    return site["infer"].get("parameter_of")


def by_code(rates: Arrays, parents: Mapping[str, str]) -> Arrays:
    """KLs of the codes alone, each with those of its parameters: ``parents`` names a parameter site's code.

    A parameter whose dims are not its code's stays by itself.
    """
    codes = {name: rate for name, rate in rates.items() if parents.get(name) not in rates}
    for name, parent in parents.items():
        if name in codes or name not in rates:
            continue
        (dims, rate), (own, value) = rates[name], codes.get(parent, ((), None))
        codes |= {parent: (own, value + rate)} if value is not None and own == dims else {name: (dims, rate)}
    return codes


def kl_names(codes: Arrays) -> dict[str, str]:
    """What histories and exports call each code's KL: ``kl`` where there is one code, else ``kl_<site>``."""
    return {name: "kl" if len(codes) == 1 else f"kl_{name}" for name in codes}
