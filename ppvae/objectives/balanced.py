"""KL balancing over the groups of a hierarchy."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, final, get_args

import torch

from ppvae.errors import check_choice
from ppvae.objectives.objective import Objective, score_gradient, weighted_rate
from ppvae.pair.terms import Estimator, Terms
from ppvae.processes import mean_over_processes

__all__ = ["Balanced"]

FLOOR = 0.01  # nats beside each group's KL, so that an empty group keeps a weight


@final
@dataclass(frozen=True, kw_only=True)
class Balanced(Objective):
    """−ELBO; while the KL is annealed, each site's KL has a weight γ that favours the sites of little KL.

    Distortion + w·Σₗ γₗ·KLₗ with the annealing's weight w, γₗ ∝ (E|KLₗ| + 0.01) / αₗ, of mean one over the sites and
    without a gradient: a site's KL weighs the more, the more it holds beside the others, so that all stay in use. E is
    the mean over the batch, of all processes; αₗ = places of the site's map / number of sites with such a map, which
    expects more of larger maps and as much of each scale's sites together. γ = 1 as soon as w is one: inside
    :class:`~ppvae.objectives.Annealed` training ends on the ELBO; alone, or with a single code, this is the ELBO.

    Errors: :class:`~ppvae.errors.UserError` for an unknown estimator.
    Source: Vahdat and Kautz 2020, "NVAE: A deep hierarchical variational autoencoder", App. A (balancing the KL terms),
    after Chen et al. 2017 and Vahdat et al. 2018.
    """

    estimator: Estimator = "auto"

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, get_args(Estimator))

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        warm = torch.as_tensor(warmth, device=terms.distortion.device)
        balance = _balance(terms)
        weights = torch.where(warm < 1, balance, torch.ones_like(balance)).unbind()
        rate = weighted_rate(terms, dict(zip(terms.codes, weights, strict=True)))
        cost = terms.distortion + warmth * rate
        return cost.mean() + score_gradient(cost, terms.score)


def _balance(terms: Terms) -> torch.Tensor:
    """γ of each code, (code,)."""
    means = torch.stack([terms.whole(rate).detach().abs().mean() for _, rate in terms.codes.values()])
    expected = torch.tensor(_expected(terms), dtype=means.dtype, device=means.device)
    balance = (mean_over_processes(means) + FLOOR) / expected
    return balance / balance.mean()


def _expected(terms: Terms) -> list[float]:
    """α of each code, but for a factor: places of its map (of a vector one) over the number of codes of such a map."""
    inner = terms.distortion.dim()
    maps = [terms.shapes.get(name, rate.shape[inner:])[1:] for name, (_, rate) in terms.codes.items()]
    alike = Counter(maps)
    return [one.numel() / alike[one] for one in maps]
