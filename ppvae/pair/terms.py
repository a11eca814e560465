"""What one pass through a model/guide pair measures, before any objective weighs it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero, sum_rightmost
from torch.distributions import kl_divergence

from ppvae.errors import UserError
from ppvae.pair.sites import (
    Site,
    discrete,
    elementwise,
    enumerated,
    event_dims,
    latent_sites,
    observed_sites,
    recorded_sites,
    scaled,
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

    Shapes: distortion (image,) = −log p(x | z); rates: by their dims, (image, *dims), the KL of each latent or its
    one-sample estimate, summed over sites that share their dims; dims are the site's event dims, or none where the
    site has one KL as a whole; score (image,) or None: the score functions of sites that are not fully
    reparameterised; recorded: the guide's deterministic sites with their dims. Under an outer plate all begin with
    (draws, image). A discrete site's KL is one as a whole, keyed by the site's name, which ``discrete`` lists.
    ``pixels`` and ``latents`` count the entries of one image and of its code (sites that share their dims once,
    discrete ones left out).
    """

    distortion: torch.Tensor
    rates: dict[tuple[str, ...], torch.Tensor]
    score: torch.Tensor | None
    recorded: dict[str, tuple[tuple[str, ...], torch.Tensor]]
    pixels: int
    latents: int
    discrete: frozenset[str] = frozenset()

    @property
    def rate(self) -> torch.Tensor:
        """KL(q(z | x) ‖ p(z)) over all sites, (image,)."""
        return sum(sum_rightmost(rate, rate.dim() - self.distortion.dim()) for rate in self.rates.values())

    @property
    def discrete_rate(self) -> torch.Tensor | float:
        """The discrete sites' part of it, (image,); zero where there are none."""
        return sum((self.rates[name,] for name in sorted(self.discrete)), 0.0)


def pair_traces(
    model: Callable, guide: Callable, images: torch.Tensor, *, enumerated: bool = False
) -> tuple[poutine.Trace, poutine.Trace]:
    """The guide's trace and the model's trace replayed against it.

    ``enumerated``: the guide's sites with ``infer={"enumerate": "parallel"}`` take all their values, along batch dims
    left of the plates ``draws`` and ``image``; else they are drawn as any other.
    """
    if enumerated:
        guide = poutine.enum(guide, first_available_dim=-3)
    guide_trace = poutine.trace(guide).get_trace(images)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(images)
    return guide_trace, model_trace


def mean_field(model: Callable, guide: Callable, images: torch.Tensor) -> Terms:
    """Terms with the closed-form KL of each site given the sites drawn before it."""
    return terms_of(*pair_traces(model, guide, images, enumerated=True), closed_form_rate, images)


def trace(model: Callable, guide: Callable, images: torch.Tensor) -> Terms:
    """Terms with log q(z | x) − log p(z) at the guide's sample, as in ``pyro.infer.Trace_ELBO``."""
    return terms_of(*pair_traces(model, guide, images, enumerated=True), sampled_rate, images)


def auto(model: Callable, guide: Callable, images: torch.Tensor) -> Terms:
    """Terms with the closed form of each site that has one, where both programs draw their sites in one order."""
    traces = pair_traces(model, guide, images, enumerated=True)
    drawn, wanted = ([site["name"] for site in latent_sites(one)] for one in traces)
    shared = [name for name in drawn if name in wanted]
    return terms_of(*traces, best_rate if shared == wanted else sampled_rate, images)


ESTIMATORS: dict[str, Callable[..., Terms]] = {"auto": auto, "mean_field": mean_field, "trace": trace}


def terms_of(
    guide_trace: poutine.Trace,
    model_trace: poutine.Trace,
    rate_of: Callable[[Site, Site | None], torch.Tensor],
    images: torch.Tensor,
) -> Terms:
    """What the two traces measured, with the KL of each latent site by ``rate_of``; enumerated sites summed out."""
    expected = _expectation(guide_trace)
    distortion = -sum(expected(s, scaled(s, s["fn"].log_prob(s["value"]))) for s in observed_sites(model_trace))
    rates: dict[tuple[str, ...], torch.Tensor] = {}
    latents: dict[tuple[str, ...], int] = {}
    found = set()
    scores = []
    for site in latent_sites(guide_trace):
        name, dims = site["name"], event_dims(site)
        model_site = model_trace.nodes.get(name)
        rate = rate_of(site, model_site)
        if discrete(model_site or site):
            found.add(name)
            dims, rate = (name,), expected(site, rate)
        else:
            latents[dims] = math.prod(site["fn"].event_shape)
            inner = rate.dim() - max(len(one["fn"].batch_shape) for one in (site, model_site or site))
            dims, rate = dims[:inner], expected(site, rate, inner)
        rates[dims] = rates.get(dims, 0) + rate
        if not enumerated(site):
            parts = site["fn"].score_parts(site["value"]).scale_and_mask(site["scale"], site["mask"])
            scores.append((name, parts.score_function))
    scores = [(name, score) for name, score in scores if not is_identically_zero(score)]
    for name, score in scores:
        if score.dim() > distortion.dim():
            raise UserError(
                f"site {name!r} is drawn given an enumerated site and is not reparameterised, for which its score "
                "function would be wrong; draw the other site (no enumerate) or reparameterise this one"
            )
    recorded = {site["name"]: (event_dims(site), site["value"]) for site in recorded_sites(guide_trace)}
    score = sum(score for _, score in scores) if scores else None
    counts = math.prod(images.shape[-3:]), sum(latents.values())
    return Terms(distortion, rates, score, recorded, *counts, frozenset(found))


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
    return scaled(guide_site, kl_divergence(*elementwise(guide_site["fn"], model_site["fn"])))


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
    q, p = elementwise(guide_site["fn"], model_site["fn"])
    value = guide_site["value"]
    return scaled(guide_site, q.log_prob(value)) - scaled(model_site, p.log_prob(value))
