"""The importance-weighted bound."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero

from ppvae.errors import UserError, check_whole
from ppvae.objectives.objective import Objective, score_gradient
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.sites import Site, elementwise, latent_sites, local, scaled
from ppvae.pair.terms import Estimator, Terms, pair_traces, sampled_rate, terms_of

__all__ = ["ImportanceWeighted"]


@final
@dataclass(frozen=True, kw_only=True)
class ImportanceWeighted(Objective):
    """−log (1/K) Σₖ p(x, zₖ) / q(zₖ | x) with K ``samples`` from the guide, image by image: the IWAE bound.

    One sample is the ELBO; the bound rises with K towards log p(x). The programs run once under an outer plate
    ``draws`` at dim −2, so that the encoder sees each image once.
    ``doubly_reparameterised`` replaces the guide's gradient, whose signal falls with K, by the estimator of Tucker et
    al.: each weight once more as a factor on the path through z, and none through log q's own parameters. It takes one
    more forward pass of the model and a guide all of whose sites are reparameterised and score any value, which an
    inverse autoregressive one does only latent by latent. A guide of several sites is run again for each pass: its
    networks must then give the same twice (no dropout).

    Errors: :class:`~ppvae.errors.UserError` for fewer than one sample.
    Sources: Burda et al. 2016, Eq. 8; Tucker et al. 2019, "Doubly reparameterized gradient estimators", Eq. 8.
    """

    samples: int = 5
    doubly_reparameterised: bool = False
    estimator: ClassVar[Estimator] = "trace"

    def __post_init__(self) -> None:
        check_whole("samples", self.samples, 1)

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        if self.doubly_reparameterised:
            with pyro.plate("draws", self.samples, dim=-2):
                terms = _doubly_reparameterised(model, guide, data, warmth)
        else:
            terms = self.measure(model, guide, data)
        return self.loss(terms, numbers, warmth), terms

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        """Terms of K draws: distortion, rates and score begin with (draws, image)."""
        with pyro.plate("draws", self.samples, dim=-2):
            return terms_of(*pair_traces(model, guide, data), sampled_rate)

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        bound = _log_weights(terms, warmth).logsumexp(0) - math.log(self.samples)
        score = None if terms.score is None else terms.score.sum(0)
        return -bound.mean() + score_gradient(-bound, score)

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        del wanted
        for name, site in drawn.items():
            if not local(site):
                raise UserError(
                    f"site {name!r} is one for all images, which no bound of each image's draws allows; "
                    "use another objective, or draw it in the plate of images"
                )
        if not self.doubly_reparameterised:
            return
        for name, site in drawn.items():
            if not is_identically_zero(site["fn"].score_parts(site["value"]).score_function):
                raise UserError(
                    f"doubly reparameterised gradients need every site reparameterised; {name!r} is not: "
                    "use doubly_reparameterised=False or a reparameterised guide"
                )
            if any(getattr(transform, "autoregressive", False) for transform in getattr(site["fn"], "transforms", ())):
                raise UserError(
                    f"doubly reparameterised gradients score site {name!r} at values that it did not draw, which its "
                    "flow does only latent by latent: use doubly_reparameterised=False or another guide"
                )


def _log_weights(terms: Terms, warmth: Any) -> torch.Tensor:
    """log p(x | z) − warmth·(log q(z | x) − log p(z)), (draws, image)."""
    return -(terms.distortion + warmth * terms.rate)


def _doubly_reparameterised(model: Callable, guide: Callable, data: Data, warmth: Any) -> Terms:
    """Terms in which z's path carries each draw's normalised weight once more, and log q's parameters no gradient."""
    drawn, scored = pair_traces(model, guide, data)
    with torch.no_grad():
        weights = _log_weights(terms_of(drawn, scored, sampled_rate), warmth).softmax(0)
    values = {site["name"]: site["value"] for site in latent_sites(drawn)}
    held = _scored_at(guide, drawn, data, {name: value.detach() for name, value in values.items()})
    weighted = _scored_at(guide, drawn, data, {name: _weighted(value, weights) for name, value in values.items()})
    model_trace = poutine.trace(poutine.replay(model, trace=weighted)).get_trace(*inputs_of(data))
    terms = terms_of(weighted, model_trace, sampled_rate)
    rates = dict(terms.rates)
    for site in latent_sites(held):
        (dims, rate), other = rates[site["name"]], model_trace.nodes.get(site["name"], site)
        q, _ = elementwise(site["fn"], other["fn"], site["value"])
        direct = scaled(site, q.log_prob(site["value"]))
        rates[site["name"]] = dims, rate - (direct - direct.detach())
    return replace(terms, rates=rates)


def _weighted(value: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The value itself, its gradient times the draw's weight."""
    weights = weights.reshape(weights.shape + (1,) * (value.dim() - weights.dim()))
    return value.detach() + weights * (value - value.detach())


def _scored_at(guide: Callable, drawn: poutine.Trace, data: Data, values: dict[str, torch.Tensor]) -> poutine.Trace:
    """The guide's trace with other values of its latent sites. Of one site its distribution stays; of several the
    guide is run again, as the distribution of a site may depend on the values of others."""
    trace = drawn.copy()
    for name, value in values.items():
        trace.nodes[name] = {**drawn.nodes[name], "value": value}
    if len(values) == 1:
        return trace
    return poutine.trace(poutine.replay(guide, trace=trace)).get_trace(*inputs_of(data))
