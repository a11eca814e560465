"""Free bits: nats of KL that cost nothing, in a hard and a soft form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final, get_args

import torch
from pyro.distributions.util import sum_rightmost
from torch import nn

from ppvae.errors import UserError, check_choice, check_not_negative, check_positive
from ppvae.objectives.objective import Objective, score_gradient, weighted_rate
from ppvae.pair.sites import Site, discrete, elementwise, event_dims, parameter_of
from ppvae.pair.terms import Estimator, Terms
from ppvae.processes import mean_over_processes

__all__ = ["FreeBits", "Group", "SoftFreeBits"]

Group = Literal["latent", "map", "site"]


@final
@dataclass(frozen=True, kw_only=True)
class FreeBits(Objective):
    """Distortion + Σⱼ max(λ, mean over the batch of KLⱼ): λ nats of each group are free.

    ``nats``: λ, one for all groups or one for each site by its name. ``group``: each ``latent``; each feature ``map``
    (the first of a site's event dims, summed over its rows and columns; each latent of a site that is a vector); or a
    ``site`` as a whole. A parameter of a
    code, as a precision of its z, counts with that code.
    The mean over the batch, of all processes, stands inside the maximum (Kingma et al. 2016,
    Eq. 15); with ``per_image`` the maximum is taken image by image, which is another objective: weaker on easy images,
    stronger on hard ones. Below λ a group's KL has no gradient. −loss is a lower bound of the
    ELBO where the KLs have a closed form; a sampled KL may be negative.

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range; :func:`~ppvae.check_pair` refuses groups finer
    than the guide's KL.
    Source: Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", Eq. 15.
    """

    nats: float | Mapping[str, float] = 0.25
    group: Group = "latent"
    per_image: bool = False
    estimator: Estimator = "auto"

    def __post_init__(self) -> None:
        for name, nats in self.nats.items() if isinstance(self.nats, Mapping) else [("nats", self.nats)]:
            check_not_negative(name, nats)
        check_choice("group", self.group, get_args(Group))
        check_choice("estimator", self.estimator, get_args(Estimator))

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        if self.per_image:
            cost = terms.distortion + warmth * sum(self._charged(terms, name) for name in terms.codes)
            return cost.mean() + score_gradient(cost, terms.score)
        first = terms.distortion.dim()
        own = {name: self._grouped(terms, name).flatten(0, first - 1).mean(0) for name in terms.codes}
        means = {name: mean_over_processes(mean) for name, mean in own.items()}
        penalty = sum(mean.clamp(min=self._nats(name)).sum() for name, mean in means.items())
        value = terms.distortion.mean() + warmth * penalty
        if terms.score is None:
            return value
        # to first order a group above λ weighs its KL by one, a group below by nothing
        slopes = {name: self._spread(mean > self._nats(name), terms, name) for name, mean in means.items()}
        return value + score_gradient(terms.distortion + warmth * weighted_rate(terms, slopes), terms.score)

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        if isinstance(self.nats, Mapping) and self.nats.keys() != (codes := _codes(drawn)):
            raise UserError(
                f"nats are given for {', '.join(self.nats) or 'no site'}; expected one number for each of the sites "
                f"{', '.join(sorted(codes))}"
            )
        if self.group == "site":
            return
        dims = {name: event_dims(site) for name, site in drawn.items()}
        if self.group == "map" and all(len(own) < 2 for own in dims.values()):
            listed = ", ".join(f"{name!r} has dims {own}" for name, own in dims.items())
            raise UserError(f"site {listed}, no feature maps; use group='latent'")
        for name, site in drawn.items():
            if discrete(wanted[name]):  # a group of its own
                continue
            q, p = elementwise(site["fn"], wanted[name]["fn"], site["value"])
            if q.event_shape and p.event_shape:
                raise UserError(
                    f"free bits of each {self.group} need a KL of each; site {name!r} of {type(q).__name__} and "
                    f"{type(p).__name__} has one KL as a whole: use group='site' or a guide and prior that factorise"
                )

    def _nats(self, name: str) -> float:
        return self.nats[name] if isinstance(self.nats, Mapping) else self.nats

    def _grouped(self, terms: Terms, name: str) -> torch.Tensor:
        """KL of each group, (image, *groups)."""
        rate = terms.codes[name][1]
        inner = rate.dim() - terms.distortion.dim()
        return sum_rightmost(rate, {"latent": 0, "map": max(inner - 1, 0), "site": inner}[self.group])

    def _charged(self, terms: Terms, name: str) -> torch.Tensor:
        """Σ over groups of max(λ, KL), (image,)."""
        return terms.whole(self._grouped(terms, name).clamp(min=self._nats(name)))

    def _spread(self, above: torch.Tensor, terms: Terms, name: str) -> torch.Tensor:
        """Groups' slopes with trailing axes, so that they broadcast over the dims that a group sums."""
        inner = terms.codes[name][1].dim() - terms.distortion.dim()
        return above.to(terms.distortion.dtype).reshape(above.shape + (1,) * (inner - above.dim()))


def _codes(drawn: Mapping[str, Site]) -> set[str]:
    """Sites that are no parameter of another."""
    return {name for name, site in drawn.items() if parameter_of(site) not in drawn}


class _Weight(nn.Module):
    """The weight γ of the KL, one number that a step updates."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(()))


@final
@dataclass(frozen=True, kw_only=True)
class SoftFreeBits(Objective):
    """Distortion + γ·KL with γ steered so that the batch's KL stays within ``slack`` above ``nats``.

    After each evaluation with gradients, a training step, γ is multiplied by 1 + ``rate`` where the KL is above
    (1 + ``slack``)·``nats`` and by 1 − ``rate`` where it is below ``nats``; it never exceeds ``largest`` (1: no
    pressure beyond the ELBO's own) nor falls below 1e-4. It is part of the checkpoint. The batch is
    that of all processes.

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range.
    Source: Chen et al. 2017, "Variational lossy autoencoder", App. C.
    """

    nats: float = 10.0
    slack: float = 0.05
    rate: float = 0.1
    largest: float = 1.0
    estimator: Estimator = "auto"
    state: nn.Module = field(default_factory=_Weight, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_not_negative("nats", self.nats)
        check_not_negative("slack", self.slack)
        check_positive("largest", self.largest)
        check_choice("estimator", self.estimator, get_args(Estimator))
        if not 0 < self.rate < 1:
            raise UserError(f"rate={self.rate!r}: expected a number between 0 and 1")

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        weight = self.state.weight.clone()
        cost = terms.distortion + warmth * weight * terms.rate
        if torch.is_grad_enabled():
            self._steer(mean_over_processes(terms.rate.detach().mean()))
        return cost.mean() + score_gradient(cost, terms.score)

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """γ after the step, as ``kl_weight``."""
        del numbers
        return {"kl_weight": self.state.weight.clone()}

    def _steer(self, kl: torch.Tensor) -> None:
        rising, falling = kl > (1 + self.slack) * self.nats, kl < self.nats
        factor = 1 + self.rate * (rising.to(kl.dtype) - falling.to(kl.dtype))
        with torch.no_grad():
            self.state.weight.mul_(factor).clamp_(1e-4, self.largest)
