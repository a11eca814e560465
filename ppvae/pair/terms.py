"""What one pass through a model/guide pair measures, before any objective weighs it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero, sum_rightmost
from torch.distributions import kl_divergence

from ppvae.errors import UserError
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.sites import (
    Arrays,
    Site,
    by_code,
    discrete,
    elementwise,
    enumerated,
    event_dims,
    latent_sites,
    local,
    observed_sites,
    parameter_of,
    recorded_sites,
    scaled,
    weighed_sites,
)

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "Terms",
    "best_rate",
    "closed_form_rate",
    "pair_traces",
    "sampled_rate",
    "terms_of",
]

Estimator = Literal["auto", "mean_field", "trace"]


@dataclass(frozen=True)
class Terms:
    """The parts of −ELBO = distortion + rate, per image, in nats.

    Shapes: distortion (image,) = −log p(x | z); rates: by site its dims and (image, *dims), the KL of each latent or
    its one-sample estimate; dims are the site's event dims, or none where the site has one KL as a whole, as a discrete
    site has; score (image,) or None: the score functions of sites that are not fully reparameterised; recorded: the
    guide's deterministic sites with their dims. Under an outer plate all begin with (draws, image). A site outside the
    plate of images, which all of them share, gives each its share of the KL.
    ``pixels``: entries of one image, those of all observed sites. ``latents``: entries of its codes, discrete sites,
    a guide's auxiliary ones and parameters of other sites left out. ``discrete``: the discrete sites. ``parents``: the
    code that a site is a parameter of. ``shapes``: the event shape of each site, also where its KL is one as a whole.
    """

    distortion: torch.Tensor
    rates: Arrays
    score: torch.Tensor | None
    recorded: Arrays
    pixels: int
    latents: int
    discrete: frozenset[str] = frozenset()
    parents: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, torch.Size] = field(default_factory=dict)

    @property
    def rate(self) -> torch.Tensor:
        """KL(q(z | x) ‖ p(z)) over all sites, (image,)."""
        return sum((self.whole(rate) for _, rate in self.rates.values()), torch.zeros_like(self.distortion))

    @property
    def discrete_rate(self) -> torch.Tensor | float:
        """The discrete sites' part of it, (image,); zero where there are none."""
        return sum((self.rates[name][1] for name in sorted(self.discrete)), 0.0)

    @property
    def codes(self) -> Arrays:
        """KLs by code, each with those of its parameters: what is a latent's own, such as free bits, reads these."""
        return by_code(self.rates, self.parents)

    def whole(self, rate: torch.Tensor) -> torch.Tensor:
        """A rate (image, *dims) summed over its dims, (image,)."""
        return sum_rightmost(rate, rate.dim() - self.distortion.dim())


def pair_traces(
    model: Callable, guide: Callable, data: Data, *, enumerated: bool = False
) -> tuple[poutine.Trace, poutine.Trace]:
    """The guide's trace of ``data`` and the model's trace replayed against it.

    ``enumerated``: the guide's sites with ``infer={"enumerate": "parallel"}`` take all their values, along batch dims
    left of the plates ``draws`` and ``image``; else they are drawn as any other.
    """
    if enumerated:
        guide = poutine.enum(guide, first_available_dim=-3)
    guide_trace = poutine.trace(guide).get_trace(*inputs_of(data))
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*inputs_of(data))
    return guide_trace, model_trace


def mean_field(model: Callable, guide: Callable, data: Data) -> Terms:
    """Terms with the closed-form KL of each site given the sites drawn before it."""
    return terms_of(*pair_traces(model, guide, data, enumerated=True), closed_form_rate)


def trace(model: Callable, guide: Callable, data: Data) -> Terms:
    """Terms with log q(z | x) − log p(z) at the guide's sample, as in ``pyro.infer.Trace_ELBO``."""
    return terms_of(*pair_traces(model, guide, data, enumerated=True), sampled_rate)


def auto(model: Callable, guide: Callable, data: Data) -> Terms:
    """Terms with the closed form of each site that has one, where both programs draw their sites in one order."""
    traces = pair_traces(model, guide, data, enumerated=True)
    drawn, wanted = ([site["name"] for site in latent_sites(one)] for one in traces)
    shared = [name for name in drawn if name in wanted]
    return terms_of(*traces, best_rate if shared == wanted else sampled_rate)


ESTIMATORS: dict[str, Callable[..., Terms]] = {"auto": auto, "mean_field": mean_field, "trace": trace}


def terms_of(
    guide_trace: poutine.Trace, model_trace: poutine.Trace, rate_of: Callable[[Site, Site | None], torch.Tensor]
) -> Terms:
    """What the two traces measured, with the KL of each latent site by ``rate_of``; enumerated sites summed out."""
    expected = _expectation(guide_trace)
    observed = observed_sites(model_trace)
    distortion = -sum(expected(s, scaled(s, s["fn"].log_prob(s["value"]))) for s in observed)
    rates: Arrays = {}
    counts, found, parents = {}, set(), {}
    for site in weighed_sites(guide_trace):
        name, model_site = site["name"], None if site["is_observed"] else model_trace.nodes.get(site["name"])
        rate, inner = rate_of(site, model_site), 0
        if discrete(model_site or site):
            found.add(name)
        else:
            inner = rate.dim() - max(len(one["fn"].batch_shape) for one in (site, model_site or site))
            counts[name] = math.prod(site["fn"].event_shape) if model_site else 0
        if parameter_of(site):
            parents[name], counts[name] = parameter_of(site), 0
        rates[name] = event_dims(site)[:inner], _of_each_image(site, expected(site, rate, inner), inner, distortion)
    return Terms(
        distortion,
        rates,
        _score(guide_trace, distortion),
        {site["name"]: (event_dims(site), site["value"]) for site in recorded_sites(guide_trace)},
        pixels=sum(math.prod(site["fn"].event_shape) for site in observed),
        latents=sum(counts.values()),
        discrete=frozenset(found),
        parents=parents,
        shapes={site["name"]: site["fn"].event_shape for site in weighed_sites(guide_trace)},
    )


def _of_each_image(site: Site, rate: torch.Tensor, inner: int, like: torch.Tensor) -> torch.Tensor:
    """The rate itself, or each image's share of it where the site is one for all images."""
    if local(site):
        return rate
    plates = rate.dim() - inner
    share = (rate / like.shape[-1]).reshape((1,) * (like.dim() - plates) + rate.shape)
    return share.expand(like.shape + rate.shape[plates:])


def _score(guide_trace: poutine.Trace, distortion: torch.Tensor) -> torch.Tensor | None:
    """The score functions of all sites together, (image,); None where there are none."""
    scores = []
    for site in weighed_sites(guide_trace):
        if enumerated(site):
            continue
        score = site["fn"].score_parts(site["value"]).score_function  # bare: the cost it multiplies has scale and mask
        if is_identically_zero(score):
            continue
        if score.dim() > distortion.dim():
            raise UserError(
                f"site {site['name']!r} is drawn given an enumerated site and is not reparameterised, for which its "
                "score function would be wrong; draw the other site (no enumerate) or reparameterise this one"
            )
        if not local(site):
            raise UserError(
                f"site {site['name']!r} is one for all images and is not reparameterised, for which a baseline over "
                "the images would be wrong; give it a reparameterised distribution"
            )
        scores.append(score)
    return sum(scores) if scores else None


def _expectation(guide_trace: poutine.Trace) -> Callable[..., torch.Tensor]:
    """A function that sums a term (*values, *plates, *inner dims) over the enumerated sites' values, by probability."""
    sites = list(filter(enumerated, latent_sites(guide_trace)))
    probability = math.prod(site["fn"].log_prob(site["value"]).exp() for site in sites)

    def expected(site: Site, term: torch.Tensor, inner: int = 0) -> torch.Tensor:
        plates = max((-frame.dim for frame in site["cond_indep_stack"] if frame.vectorized), default=1)
        if not sites or term.dim() == plates + inner:  # nothing enumerated, or the same for all values
            return term
        weighed = probability.reshape(probability.shape + (1,) * inner) * term
        return weighed.sum(tuple(range(weighed.dim() - plates - inner)))

    return expected


def closed_form_rate(guide_site: Site, model_site: Site | None) -> torch.Tensor:
    """KL(q ‖ p) of a site, latent by latent where both factorise; NotImplementedError where none is registered."""
    if model_site is None:
        return sampled_rate(guide_site, None)
    q, p = elementwise(guide_site["fn"], model_site["fn"], guide_site["value"])
    try:
        return scaled(guide_site, kl_divergence(q, p))
    except IndexError:  # torch's KL of Bernoullis does not broadcast
        return scaled(guide_site, kl_divergence(q, p.expand(q.batch_shape)))


def best_rate(guide_site: Site, model_site: Site | None) -> torch.Tensor:
    """The closed form where one is registered, else log q − log p at the guide's sample."""
    try:
        return closed_form_rate(guide_site, model_site)
    except NotImplementedError:
        return sampled_rate(guide_site, model_site)


def sampled_rate(guide_site: Site, model_site: Site | None) -> torch.Tensor:
    """log q − log p of a site at the guide's sample, latent by latent where both factorise."""
    if model_site is None:  # auxiliary: log q alone
        return scaled(guide_site, guide_site["fn"].log_prob(guide_site["value"]))
    if discrete(model_site) and not discrete(guide_site):  # a relaxed draw's density less a probability is no log ratio
        return closed_form_rate(guide_site, model_site)
    value = guide_site["value"]
    q, p = elementwise(guide_site["fn"], model_site["fn"], value)
    return scaled(guide_site, q.log_prob(value)) - scaled(model_site, p.log_prob(value))
