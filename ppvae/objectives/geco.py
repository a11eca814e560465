"""The least rate under a reconstruction error that the user gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final, get_args

import torch
from pyro.distributions.util import sum_rightmost
from pyro.poutine.messenger import Messenger
from torch import nn

from ppvae.distributions.means import mean_of
from ppvae.errors import UserError, check_choice, check_positive
from ppvae.objectives.objective import Objective, score_gradient
from ppvae.pair.program import Data
from ppvae.pair.sites import Site
from ppvae.pair.terms import Estimator, Terms
from ppvae.processes import mean_over_processes

__all__ = ["GECO"]

LEAST = 1e-8  # multiplier


class _State(nn.Module):
    """The multiplier, and the sums behind the moving average of the squared error and of one."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.register_buffer("multiplier", torch.tensor(float(start)))
        self.register_buffer("squares", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @property
    def error(self) -> torch.Tensor:
        """Root of the moving average of the squared error of a pixel; zero before the first step."""
        return self.squared_error.sqrt()

    @property
    def squared_error(self) -> torch.Tensor:
        return self.squares / self.weight.clamp(min=LEAST)


@final
@dataclass(frozen=True, kw_only=True)
class GECO(Objective):
    """KL + λ·distortion, λ ≥ 0 steered until the reconstruction error is ``error``: the least rate that allows it.

    ``error``: root mean squared error of a pixel, in [0, 1], between an image and the mean of p(x | z) at its code's
    draw. After each evaluation with gradients, a training step, λ is multiplied by exp(``rate``·c), c = ē²/error² − 1
    cut at ±1, ē² the moving average of the squared error, which keeps the share ``smoothing`` of itself each step (the
    batch is that of all processes). λ begins at ``start`` and stays between 1e-8 and ``largest``, so that an error out
    of reach ends in a pair trained for reconstruction alone. λ and the average are part of the checkpoint; the history
    has them as ``multiplier`` and ``reconstruction_error``.

    ``start`` = 1 is the ELBO, under which every latent comes into use before the rate presses. From a small one, such
    as 1e-4, the rate presses first and is let go, by at most exp(``rate``) a step, just until the error is met: latents
    come into use one by one, the most useful first. ``rate`` is small beside what a pair learns in a step, or λ
    overshoots, and latents come in that then have to leave: of sprites on a small convolutional network, λ went to 150
    times its end at 0.01, to six times at 0.003.

    At the end the pair is that of the β-VAE with β = 1/λ. Where pixels are normal with a fixed scale s, that is the
    constrained problem's own solution, λ/2s² its multiplier; other likelihoods trade the rate for their log density,
    in which their further parameters are trained, and meet the error all the same.

    Errors: :class:`~ppvae.errors.UserError` for numbers out of range; :func:`~ppvae.check_pair` refuses a likelihood
    without a mean.
    Source: Rezende and Viola 2018, "Taming VAEs", whose constraint is in squared pixel values and is not
    cut.
    """

    error: float = 0.05
    start: float = 1.0
    rate: float = 0.003
    smoothing: float = 0.95
    largest: float = 1e4
    estimator: Estimator = "auto"
    state: nn.Module = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("error", "start", "rate", "largest"):
            check_positive(name, getattr(self, name))
        if not LEAST <= self.start <= self.largest:
            raise UserError(
                f"start={self.start!r}: expected a number from {LEAST:g} to largest, which is {self.largest:g}"
            )
        if not 0 <= self.smoothing < 1:
            raise UserError(f"smoothing={self.smoothing!r}: expected a number from 0 to 1, 1 excluded")
        check_choice("estimator", self.estimator, get_args(Estimator))
        object.__setattr__(self, "state", _State(self.start))

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        """Terms with the squared error of a pixel, mean over each image, among the recorded."""
        with _SquaredErrors() as errors:
            terms = super().measure(model, guide, data)
        return replace(terms, recorded={**terms.recorded, "squared_error": ((), errors.of_images())})

    def loss(self, terms: Terms, numbers: torch.Tensor | None = None, warmth: Any = 1.0) -> torch.Tensor:
        del numbers
        multiplier = self.state.multiplier.clone()
        cost = multiplier * terms.distortion + warmth * terms.rate
        if torch.is_grad_enabled():
            self._steer(mean_over_processes(terms.recorded["squared_error"][1].detach().mean()))
        return cost.mean() + score_gradient(cost, terms.score)

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """λ after the step and ē, in pixel values."""
        del numbers
        return {"multiplier": self.state.multiplier.clone(), "reconstruction_error": self.state.error}

    def check_observed(self, observed: Mapping[str, Site]) -> None:
        site = _images(observed)
        if mean_of(site["fn"]) is None:
            raise UserError(
                f"GECO is told the error of the mean of p(x | z), and {_kind(site)} has no mean: use a likelihood with "
                "one, such as normal, or another objective, such as BetaELBO"
            )

    def _steer(self, squared_error: torch.Tensor) -> None:
        state, kept = self.state, self.smoothing
        with torch.no_grad():
            state.squares.mul_(kept).add_(squared_error, alpha=1 - kept)
            state.weight.mul_(kept).add_(1 - kept)
            constraint = state.squared_error / self.error**2 - 1
            state.multiplier.mul_((self.rate * constraint.clamp(-1, 1)).exp()).clamp_(LEAST, self.largest)


class _SquaredErrors(Messenger):
    """Notes the sites that the programs observe inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.observed: dict[str, Site] = {}

    def _pyro_post_sample(self, msg: Site) -> None:
        if msg["is_observed"] and not (msg["infer"].get("_deterministic") or msg["infer"].get("is_auxiliary")):
            self.observed[msg["name"]] = msg

    def of_images(self) -> torch.Tensor:
        """Squared error of a pixel of each image's mean, (..., image)."""
        site = _images(self.observed)
        error, inner = (site["fn"].mean - site["value"]).square(), site["fn"].event_dim
        return sum_rightmost(error, inner) / site["fn"].event_shape.numel()


def _images(observed: Mapping[str, Site]) -> Site:
    """The site that observes the images: ``x``, or the only one."""
    if "x" not in observed and len(observed) != 1:
        raise UserError(
            f"the model observes {', '.join(observed) or 'nothing'}; GECO needs one site of images, or one called x"
        )
    return observed["x"] if "x" in observed else next(iter(observed.values()))


def _kind(site: Site) -> str:
    return type(getattr(site["fn"], "base_dist", site["fn"])).__name__
