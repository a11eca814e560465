"""ArviZ's groups of a pair of one image plate: all draws of a few images at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.util import sum_rightmost

from ppvae.pair.sites import (
    Arrays,
    Site,
    by_code,
    discrete,
    event_dims,
    kl_names,
    latent_sites,
    observed_sites,
    parameter_of,
    recorded_sites,
    scaled,
    weighed_sites,
)
from ppvae.pair.terms import best_rate, pair_traces
from ppvae.posterior.first_draw import once
from ppvae.posterior.handlers import latent_part

__all__ = ["Wanted", "groups_of", "mean_and_variance"]


@dataclass(frozen=True)
class Wanted:
    """What to export of each image, and under how many draws.

    ``sites``: those that are kept, None for all; ``moments``: those kept by their moments alone, True for all that
    ``sites`` does not name.
    """

    draws: int
    log_likelihood: bool = True
    posterior_predictive: bool = False
    observed_data: bool = True
    prior: bool = True
    sites: tuple[str, ...] | None = None
    moments: tuple[str, ...] | bool = False

    @property
    def decoded(self) -> bool:
        """Whether any of it needs the model beyond its latents."""
        return self.log_likelihood or self.posterior_predictive

    def keeps_draws(self, site: str) -> bool:
        """Whether each draw of the latent site is kept."""
        if self.moments is True:
            return site in (self.sites or ())
        return (self.sites is None or site in self.sites) and site not in (self.moments or ())

    def keeps_moments(self, site: str) -> bool:
        """Whether the site's mean and variance are, and its KL entry by entry."""
        return self.keeps_draws(site) or self.moments is True or site in (self.moments or ())


def groups_of(
    model: Callable, guide: Callable, data: tuple[torch.Tensor, ...], wanted: Wanted, mirrored: Arrays
) -> dict[str, Arrays]:
    """All groups for a few images; arrays with draws begin with dims (draw, image), the others with (image,).

    ``mirrored``: the sites that observe the images themselves, which need no run of the model.
    """
    guide_trace, model_trace = _traces(model, guide, data, wanted)
    drawn = [site for site in latent_sites(guide_trace) if wanted.keeps_draws(site["name"])]
    groups: dict[str, Arrays] = {
        "posterior": {s["name"]: (("draw", "image", *event_dims(s)), s["value"]) for s in drawn},
        "sample_stats": _statistics(guide_trace, model_trace, wanted),
    }
    observed = observed_sites(model_trace) if wanted.decoded else []
    if wanted.log_likelihood:
        groups["log_prior"] = _terms(latent_sites(model_trace))
        groups["log_likelihood"] = _terms(observed)
        log_p = sum(term for name in ("log_prior", "log_likelihood") for _, term in groups[name].values())
        log_q = groups["sample_stats"]["log_q"][1]
        groups["sample_stats"] |= {"log_p": (("draw", "image"), log_p), "elbo": (("image",), (log_p - log_q).mean(0))}
    if wanted.observed_data:
        seen = {s["name"]: (_observed_dims(s), s["value"]) for s in observed}
        groups["observed_data"] = seen or {name: (dims, data[0]) for name, (dims, _) in mirrored.items()}
    if wanted.posterior_predictive:
        drawn = {s["name"]: (("draw", "image", *event_dims(s)), s["fn"].sample()) for s in observed}
        groups["posterior_predictive"] = drawn
    return {name: group for name, group in groups.items() if group}


def _observed_dims(site: Site) -> tuple[str, ...]:
    """Dims of what a site observes: with a leading ``draw`` where it was drawn itself, as a random view is."""
    dims = ("image", *event_dims(site))
    return ("draw", *dims) if site["value"].dim() > len(dims) else dims


def _traces(
    model: Callable, guide: Callable, data: tuple[torch.Tensor, ...], wanted: Wanted
) -> tuple[poutine.Trace, poutine.Trace]:
    with pyro.plate("draws", wanted.draws, dim=-2):
        if wanted.decoded:
            return pair_traces(model, guide, data)
        guide_trace = poutine.trace(guide).get_trace(*data)
        shared = [site for site in latent_sites(guide_trace) if not site["infer"].get("is_auxiliary")]
        return guide_trace, latent_part(model, {site["name"]: site["value"] for site in shared}, *data)


def _terms(sites: list[Site]) -> Arrays:
    return {site["name"]: (("draw", "image"), _log_prob(site)) for site in sites}


def _statistics(guide_trace: poutine.Trace, model_trace: poutine.Trace, wanted: Wanted) -> Arrays:
    weighed, recorded = weighed_sites(guide_trace), recorded_sites(guide_trace)
    statistics: Arrays = {"log_q": (("draw", "image"), sum(map(_log_prob, weighed)))}
    latents = [site for site in latent_sites(guide_trace) if wanted.keeps_moments(site["name"])]
    statistics |= _kls(weighed, model_trace, wanted) | _moments(latents, model_trace)
    return statistics | {s["name"]: (("image", *event_dims(s)), s["value"]) for s in recorded}


def _log_prob(site: Site) -> torch.Tensor:
    return scaled(site, site["fn"].log_prob(site["value"]))


def _kls(sites: list[Site], model_trace: poutine.Trace, wanted: Wanted) -> Arrays:
    """KL of each code, of each latent where both sides factorise: closed form, else the mean over draws.

    Of a code of which no moments are kept one number an image is."""
    kls: Arrays = {}
    for site in sites:
        kl = best_rate(*once(site, None if site["is_observed"] else model_trace.nodes.get(site["name"]))).mean(0)
        kls[site["name"]] = event_dims(site)[: kl.dim() - 1], kl
    codes = by_code(kls, {site["name"]: parameter_of(site) for site in sites if parameter_of(site)})
    names = kl_names(codes)
    codes |= {n: ((), kl.flatten(1).sum(1)) for n, (dims, kl) in codes.items() if dims and not wanted.keeps_moments(n)}
    return {names[name]: (("image", *dims), kl) for name, (dims, kl) in codes.items()}


def _moments(latents: list[Site], model_trace: poutine.Trace) -> Arrays:
    """Mean and variance of each site under q(z | x), by the law of total expectation over earlier sites' draws, and the
    most probable value of a discrete one, whose mean is left out where its values are but names."""
    moments: Arrays = {}
    for site in latents:
        name, dims, (mean, variance) = site["name"], ("image", *event_dims(site)), mean_and_variance(*once(site))
        between = mean.var(0, correction=0) if len(mean) > 1 else 0
        found = {"mean": mean.mean(0), "variance": variance.mean(0) + between}
        counted = model_trace.nodes.get(name, site)
        if discrete(counted):
            found = {} if found["mean"].isnan().all() else found
            found["mode"] = _most_probable(site, counted["fn"], mean)
        moments |= {f"{name}_{kind}": (dims, values) for kind, values in found.items()}
    return moments


def _most_probable(site: Site, counted: dist.TorchDistribution, mean: torch.Tensor) -> torch.Tensor:
    """A discrete site's most probable value under q(z | x); of a relaxed one the value nearest to its mean."""
    counted = _elements(counted)
    event = counted.event_shape
    values = counted.enumerate_support(expand=False).reshape(-1, *event)
    if discrete(site):
        q = _elements(site["fn"])
        scores = q.log_prob(values.reshape(-1, *(1,) * len(q.batch_shape), *event)).exp().mean(1)
    else:
        center = mean.mean(0)
        apart = (center - values.reshape(-1, *(1,) * (center.dim() - len(event)), *event)).square()
        scores = -sum_rightmost(apart, len(event))
    return values[scores.argmax(0)]  # scores (value, image, ...)


def _elements(fn: dist.TorchDistribution) -> dist.TorchDistribution:
    """Without the wrapper that makes independent values one event."""
    return _elements(fn.base_dist) if isinstance(fn, dist.Independent) else fn


def mean_and_variance(site: Site) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the site's distribution: in closed form where it has one, else those of 256 draws."""
    try:
        return site["fn"].mean, site["fn"].variance
    except NotImplementedError:
        draws = site["fn"].sample((256,))
        if not draws.is_floating_point():
            return site["value"], torch.zeros_like(site["value"])
        return draws.mean(0), draws.var(0)
