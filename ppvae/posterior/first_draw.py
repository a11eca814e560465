"""Distributions that all draws share, evaluated once."""

import pyro.distributions as dist
import torch

from ppvae.pair.sites import Site

__all__ = ["once"]

PLAIN = (dist.Normal, dist.Gamma)  # exactly these: their parameters are all that they are


def once(*sites: Site | None) -> list[Site | None]:
    """The sites with their distributions at the first draw alone where no distribution depends on the draw.

    What is computed of them is the same for every draw, and eight draws need not cost eight times as much.
    """
    reduced = [None if site is None else _first(site["fn"]) for site in sites]
    masked = any(isinstance(site[name], torch.Tensor) for site in sites if site for name in ("scale", "mask"))
    if masked or any(fn is None for fn, site in zip(reduced, sites, strict=True) if site is not None):
        return list(sites)
    return [site and {**site, "fn": fn} for fn, site in zip(reduced, sites, strict=True)]


def _first(fn: dist.TorchDistribution) -> dist.TorchDistribution | None:
    """The first of equal draws, kept as an axis of one; None where they may differ."""
    if isinstance(fn, dist.Independent):
        base = _first(fn.base_dist)
        return None if base is None else base.to_event(fn.reinterpreted_batch_ndims)
    if type(fn) not in PLAIN:
        return None
    parameters = {name: getattr(fn, name) for name in fn.arg_constraints}
    if not all(parameter.dim() and parameter.stride(0) == 0 for parameter in parameters.values()):
        return None
    return type(fn)(**{name: parameter[:1] for name, parameter in parameters.items()})
