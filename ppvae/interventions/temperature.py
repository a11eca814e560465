"""Draws that are colder than the model's: the noise of its latents multiplied by a temperature."""

from collections.abc import Collection
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import distributions as td

from ppvae.described import one_line
from ppvae.distributions import AutoregressiveImage, IsotropicNormal, UniformMixture
from ppvae.distributions.pixel_outputs import NormalPixels, PixelOutput
from ppvae.errors import UserError, check_choice, check_not_negative
from ppvae.pair.sites import discrete, parameter_of

__all__ = ["Tempered"]


VIEW = "x_shuffled"  # that two-view models draw beside the images


class Tempered(Messenger):
    """Around any program: latents are drawn from N(μ, (t·σ)²) where it says N(μ, σ²), with t the ``temperature``.

    What t multiplies is the noise, wherever it enters:

    - of a location and a scale (normal, also multivariate, whose correlations stay; Student-t, Laplace, Cauchy) the
      scale: the variance is t² times the model's;
    - of a mixture the scales of its components, which are chosen as ever: t² times what varies within them, while
      their means differ as before;
    - of a flow those of its base: f(t·ε) where the model draws f(ε); of a map drawn place by place each place's.

    A parameter of another latent, as a precision λ is of z ~ N(0, 1/λ), and a discrete latent, as a cluster, are drawn
    as ever, and what follows from them is colder: Normal-Gamma draws are the Student-t prior's, clusters the mixture's.

    1 leaves the program as it is, bit for bit under one seed; 0 takes the locations and draws no noise. In between, the
    noise is the same for every t. ``sites``: which, by name; by default all that the program draws but ``images``, the
    site of the images, and a view of them. What is observed stays as it is. Densities are those of what is drawn; at 0
    a point.

    Errors: :class:`~ppvae.errors.UserError` for a temperature below zero; unless it is 1, for a site whose noise is of
    another kind, such as a Gamma or a category that ``sites`` names.
    Sources: Vahdat and Kautz 2020, "NVAE", Sec. 4.2, who draw images at 0.6 to 1; Kingma and Dhariwal 2018, "Glow",
    Sec. 5, for flows, where t·ε is p^(1/t²) if the flow preserves volume.
    """

    def __init__(self, temperature: float, sites: Collection[str] | None = None, *, images: str = "x") -> None:
        super().__init__()
        check_not_negative("temperature", temperature)
        self.temperature, self.images = temperature, images
        self.sites = None if sites is None else (sites,) if isinstance(sites, str) else tuple(sites)
        self.met: dict[str, bool] = {}  # the latents of the last run, and whether the temperature is theirs

    def __repr__(self) -> str:
        return one_line(self, "temperature", "sites", "images")

    def __enter__(self) -> "Tempered":
        self.met = {}
        return super().__enter__()

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        name = msg["name"]
        if msg["is_observed"] or type(msg["fn"]).__name__ == "_Subsample" or name in (self.images, VIEW):
            return
        self.met[name] = name in self.sites if self.sites is not None else not (discrete(msg) or parameter_of(msg))
        if self.met[name] and self.temperature != 1:
            msg["fn"] = self._cold(msg["fn"], name)

    def _cold(self, fn: dist.TorchDistribution, name: str) -> dist.TorchDistribution:
        cold = tempered(fn, self.temperature)
        if cold is None:
            raise UserError(
                f"temperature={self.temperature:g} at site {name!r}, a {_kind(fn)}: expected normal noise, which it "
                "multiplies, or a scale; name the sites that have one in sites="
            )
        return cold

    def check_met(self) -> None:
        """After a run, UserError for ``sites`` that the program did not draw, or where nothing has a temperature."""
        for site in self.sites or ():
            check_choice("sites", site, list(self.met))
        if self.temperature != 1 and self.sites is None and self.met and not any(self.met.values()):
            raise UserError(
                f"temperature={self.temperature:g}: the model's latents are discrete, {', '.join(self.met)}, and have "
                "no noise to multiply; leave it out"
            )


def tempered(fn: td.Distribution, t: float) -> td.Distribution | None:
    """The distribution with its noise multiplied by t; None where that means nothing."""
    match fn:
        case dist.Delta():
            return fn
        case td.Independent():
            base = tempered(fn.base_dist, t)
            return base and base.to_event(fn.reinterpreted_batch_ndims)
        case td.MixtureSameFamily():
            components = tempered(fn.component_distribution, t)
            return components and dist.MixtureSameFamily(fn.mixture_distribution, components)
        case UniformMixture():
            components = tempered(fn.components, t)
            return components and UniformMixture(components)
        case td.TransformedDistribution():
            base = tempered(fn.base_dist, t)
            return base and dist.TransformedDistribution(base, fn.transforms)
        case AutoregressiveImage(output=NormalPixels()):
            pixels = TemperedPixels(fn.output, t)
            return AutoregressiveImage(fn.network, pixels, fn.context, dropout=fn.dropout, prefix=fn.prefix)
    scaled = _scaled(fn, t or 1.0)  # there is no scale of 0
    return scaled if t else scaled and dist.Delta(fn.loc, event_dim=len(fn.event_shape))


def _scaled(fn: td.Distribution, factor: float) -> dist.TorchDistribution | None:
    """A distribution of a location and a scale with the scale multiplied; None for any other."""
    match fn:
        case td.Normal():
            return dist.Normal(fn.loc, factor * fn.scale)
        case td.MultivariateNormal():
            return dist.MultivariateNormal(fn.loc, scale_tril=factor * fn.scale_tril)
        case IsotropicNormal():
            return IsotropicNormal(fn.loc, factor * fn.scale, fn.event_dim)
        case td.StudentT():
            return dist.StudentT(fn.df, fn.loc, factor * fn.scale)
        case td.Laplace():
            return dist.Laplace(fn.loc, factor * fn.scale)
        case td.Cauchy():
            return dist.Cauchy(fn.loc, factor * fn.scale)
    return None


class TemperedPixels(PixelOutput):
    """Normal places of a map, the noise of each, given those before it, multiplied by t."""

    support = NormalPixels.support

    def __init__(self, output: NormalPixels, t: float) -> None:
        super().__init__(output.noises)
        self.output, self.t = output, t

    def conditionals(self, features: torch.Tensor, value: torch.Tensor) -> dist.TorchDistribution:
        return tempered(self.output.conditionals(features, value), self.t)

    def drawn(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.output.drawn(features, self.t * noise)

    def noise(self, shape: torch.Size, like: torch.Tensor) -> torch.Tensor:
        return self.output.noise(shape, like)


def _kind(fn: dist.TorchDistribution) -> str:
    return _kind(fn.base_dist) if isinstance(fn, td.Independent) else type(fn).__name__
