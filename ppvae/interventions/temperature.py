"""Draws that are colder than the model's: normal latents with their scales multiplied by a temperature."""

from collections.abc import Collection
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger

from ppvae.described import one_line
from ppvae.distributions import IsotropicNormal
from ppvae.errors import UserError, check_not_negative

__all__ = ["Tempered"]


VIEW = "x_shuffled"  # that two-view models draw beside the images


class Tempered(Messenger):
    """Around any program: latents are drawn from N(μ, (t·σ)²) where it says N(μ, σ²), with t the ``temperature``.

    1 leaves the program as it is, bit for bit under one seed; 0 takes the means and draws nothing. In between, the
    noise is the same for every t. ``sites``: which, by name; by default all that the program draws but ``images``, the
    site of the images, and a view of them. What is observed stays as it is. Densities are those of what is drawn; at 0
    a point.

    A multivariate normal keeps its correlations. Of any other distribution there is no temperature:
    :class:`~ppvae.errors.UserError` names the site, unless the temperature is 1. Also for a temperature below zero.
    Source: Vahdat and Kautz 2020, "NVAE", Sec. 4.2, who draw images at 0.6 to 1.
    """

    def __init__(self, temperature: float, sites: Collection[str] | None = None, *, images: str = "x") -> None:
        super().__init__()
        check_not_negative("temperature", temperature)
        self.temperature, self.images = temperature, images
        self.sites = None if sites is None else (sites,) if isinstance(sites, str) else tuple(sites)

    def __repr__(self) -> str:
        return one_line(self, "temperature", "sites", "images")

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if self.temperature == 1 or msg["is_observed"] or type(msg["fn"]).__name__ == "_Subsample":
            return
        name = msg["name"]
        if name in self.sites if self.sites is not None else name not in (self.images, VIEW):
            msg["fn"] = _tempered(msg["fn"], self.temperature, name)


def _tempered(fn: dist.TorchDistribution, temperature: float, name: str) -> dist.TorchDistribution:
    cold = _scaled(fn, temperature or 1.0)  # a normal of scale 0 is none
    if cold is None:
        raise UserError(
            f"temperature={temperature:g} at site {name!r}, a {_kind(fn)}: expected a normal, whose scale it "
            "multiplies; name the sites that are in sites="
        )
    return cold if temperature else dist.Delta(fn.mean, event_dim=fn.event_dim)


def _scaled(fn: dist.TorchDistribution, factor: float) -> dist.TorchDistribution | None:
    """The normal with its scale multiplied; None for what is no normal."""
    if isinstance(fn, torch.distributions.Independent):
        base = _scaled(fn.base_dist, factor)
        return None if base is None else base.to_event(fn.reinterpreted_batch_ndims)
    if isinstance(fn, torch.distributions.Normal):
        return dist.Normal(fn.loc, factor * fn.scale)
    if isinstance(fn, torch.distributions.MultivariateNormal):
        return dist.MultivariateNormal(fn.loc, scale_tril=factor * fn.scale_tril)
    if isinstance(fn, IsotropicNormal):
        return IsotropicNormal(fn.loc, factor * fn.scale, fn.event_dim)
    return None


def _kind(fn: dist.TorchDistribution) -> str:
    return _kind(fn.base_dist) if isinstance(fn, torch.distributions.Independent) else type(fn).__name__
