"""The decomposed rate of the β-TCVAE."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import torch

from ppvae.errors import UserError, check_not_negative, check_whole
from ppvae.objectives.objective import Objective, score_gradient
from ppvae.pair.program import Data
from ppvae.pair.sites import Site, elementwise, latent_sites, scaled
from ppvae.pair.terms import Estimator, Terms, pair_traces, sampled_rate, terms_of
from ppvae.processes import count, gathered, rank

__all__ = ["TotalCorrelation"]


@final
@dataclass(frozen=True, kw_only=True)
class TotalCorrelation(Objective):
    """Distortion + α·I(z; x) + β·TC(z) + γ·Σₖ KL(q(zₖ) ‖ p(zₖ)): the rate's three parts, each weighed by itself.

    TC is the total correlation KL(q(z) ‖ Πₖ q(zₖ)) of the aggregated posterior q(z) = (1/N) Σₙ q(z | xₙ), N the number
    of ``images`` in the data set (``fit`` fills it in; else the batch is taken for the data set). From a batch of B, of
    all processes, q(zᵢ) ≈ q(zᵢ | xᵢ)/N + (N − 1)/N · mean over the others of q(zᵢ | xⱼ), likewise for each q(zₖ):
    exact at B = N, unbiased inside the logarithm below. The three parts add up to log q(z | x) − log p(z) exactly, so
    that with all weights 1 the objective is −ELBO. The history holds them as ``mutual_information``,
    ``total_correlation`` and ``marginal_kl``.

    The guide must have one site whose latents are independent given the image (:func:`~ppvae.check_pair` refuses
    others).

    Errors: :class:`~ppvae.errors.UserError` for a negative weight.
    Source: Chen et al. 2018, "Isolating sources of disentanglement in VAEs", Eqs. 2 and 4;
    the weights are those of its stratified sampling (App. C.2), spread evenly over the others.
    """

    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    images: int | None = None
    estimator: ClassVar[Estimator] = "trace"

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            check_not_negative(name, getattr(self, name))
        if self.images is not None:
            check_whole("images", self.images, 1)

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        """Terms with the rate's three parts, each (image,), among the recorded."""
        drawn, scored = pair_traces(model, guide, data)
        terms = terms_of(drawn, scored, sampled_rate)
        site = next(site for site in latent_sites(drawn) if site["name"] in scored.nodes)
        parts = self._parts(site, scored.nodes[site["name"]])
        recorded = {**terms.recorded, **{name: ((), part) for name, part in parts.items()}}
        return replace(terms, recorded=recorded)

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        weights = {"mutual_information": self.alpha, "total_correlation": self.beta, "marginal_kl": self.gamma}
        rate = sum(weight * terms.recorded[name][1] for name, weight in weights.items())
        cost = terms.distortion + warmth * rate
        return cost.mean() + score_gradient(cost, terms.score)

    def bound_to(self, images: int, model: Callable, guide: Callable) -> Self:
        del model, guide
        return self if self.images is not None else replace(self, images=images)

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        del wanted
        if len(drawn) != 1:
            raise UserError(
                f"total correlation needs one latent site, the guide draws {', '.join(map(repr, drawn))}; "
                "use a guide of z alone, such as student_t in place of normal_gamma"
            )
        ((name, site),) = drawn.items()
        base, _ = elementwise(site["fn"], site["fn"])
        if base.event_shape or len(site["fn"].event_shape) != 1:
            raise UserError(
                f"total correlation needs latents that are independent given the image; site {name!r} is a "
                f"{type(base).__name__} of event shape {tuple(site['fn'].event_shape)}: use the mean-field guide"
            )
        if not site["fn"].has_rsample:
            raise UserError(f"total correlation needs a reparameterised guide; site {name!r} is not: use mean-field")

    def _parts(self, guide_site: Site, model_site: Site) -> dict[str, torch.Tensor]:
        """Mutual information, total correlation and marginal KL of each image's draw; they add up to log q − log p."""
        z, q = guide_site["value"], guide_site["fn"].base_dist
        pairwise = q.log_prob(gathered(z).unsqueeze(-2))  # (i, j, latent): log q(zᵢₖ | xⱼ), j of this process
        shares = self._log_shares(len(z), z)
        aggregate = _of_all((pairwise.sum(-1) + shares).logsumexp(-1))
        marginals = _of_all((pairwise + shares.unsqueeze(-1)).logsumexp(-2)).sum(-1)
        log_q = guide_site["fn"].log_prob(z)
        return {
            "mutual_information": scaled(guide_site, log_q - aggregate),
            "total_correlation": scaled(guide_site, aggregate - marginals),
            "marginal_kl": scaled(guide_site, marginals) - scaled(model_site, model_site["fn"].log_prob(z)),
        }

    def _log_shares(self, batch: int, like: torch.Tensor) -> torch.Tensor:
        """Log weight of q(zᵢ | xⱼ) in the estimate of q(zᵢ), (i, j): i of all processes, j of this one."""
        whole = batch * count()
        images = self.images or whole
        other = math.log(max(images - 1, 1) / (images * max(whole - 1, 1)))
        own = torch.eye(whole, dtype=like.dtype, device=like.device)
        own = own if count() == 1 else own[:, _own(batch)]
        return other + (-math.log(images) - other) * own


def _of_all(logs: torch.Tensor) -> torch.Tensor:
    """Log sums over this process's images j of each i of all, (i, ...), as sums over all j for its own i."""
    if count() == 1:
        return logs
    return gathered(logs.unsqueeze(0))[:, _own(len(logs) // count())].logsumexp(0)


def _own(batch: int) -> slice:
    """This process's images among those of all."""
    return slice(rank() * batch, (rank() + 1) * batch)
