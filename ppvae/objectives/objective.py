"""What an objective is."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import nn

from ppvae.errors import UserError
from ppvae.pair.program import Data
from ppvae.pair.sites import Site
from ppvae.pair.terms import ESTIMATORS, Estimator, Terms
from ppvae.processes import count, total

__all__ = ["Objective", "score_gradient", "weighted_rate"]


LATE = 10**9  # a step that no training reaches


class Objective(abc.ABC):
    """What SVI minimises, around a model/guide pair and never inside it; nats per image.

    ``objective(model, guide, *data)``, images first, is a scalar, so it goes straight into
    ``pyro.infer.SVI(model, guide, optim, loss=objective)``; one that changes from step to step as
    ``loss=objective.at(step)``, since SVI does not say the step. A new one needs :meth:`loss`; every other method has
    a default.

    ``warmth`` multiplies whatever the objective adds to the distortion: the weight of KL annealing, which
    :class:`~ppvae.objectives.Annealed` hands in.
    """

    estimator: Estimator = "auto"
    state: nn.Module | None = None  # buffers that a step updates, where an objective has any

    def __call__(self, model: Callable, guide: Callable, *data: torch.Tensor) -> torch.Tensor:
        if self.numbers(0) != self.numbers(LATE):
            name = type(self).__name__
            raise UserError(f"{name} changes from step to step and was not told the step; use ppvae.fit or .at(step)")
        return self.at(0)(model, guide, *data)

    def at(self, step: int) -> Callable[..., torch.Tensor]:
        """The objective of one training step, as Pyro's SVI takes it."""

        def loss(model: Callable, guide: Callable, *data: torch.Tensor) -> torch.Tensor:
            numbers = torch.tensor(self.numbers(step), device=data[0].device)
            return self.evaluate(model, guide, data, numbers)[0]

        return loss

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        """The scalar to differentiate, and what one pass through guide and model measured.

        Shapes: data, images (image, C, H, W) and what comes with each, (image, ...); numbers (n,), those of
        :meth:`numbers`; loss ().
        """
        terms = self.measure(model, guide, data)
        return self.loss(terms, numbers, warmth), terms

    def measure(self, model: Callable, guide: Callable, data: Data) -> Terms:
        """Distortion, rates and score terms of one pass through guide and model."""
        return ESTIMATORS[self.estimator](model, guide, data)

    @abc.abstractmethod
    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        """The scalar to differentiate; its gradient includes the score functions of ``terms``."""

    def numbers(self, step: int) -> tuple[float, ...]:
        """What changes from step to step, as inputs of the captured graph (a Python number would be frozen)."""
        del step
        return ()

    @property
    def settles(self) -> int:
        """The step from which :meth:`numbers` no longer changes; before it no stopping rule judges."""
        last, before, step = self.numbers(LATE), 0, 1
        if self.numbers(0) == last:
            return 0
        while self.numbers(step) != last and step < LATE:
            before, step = step, 2 * step
        while step - before > 1:  # it changed at `before`, no more at `step`
            middle = (before + step) // 2
            before, step = (before, middle) if self.numbers(middle) == last else (middle, step)
        return step

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """What the history should hold beside the measurements, a scalar each: weights and targets of the step."""
        del numbers
        return {}

    def bound_to(self, images: int, model: Callable, guide: Callable) -> Self:
        """The same objective for a data set of so many images and this pair, where it asks for either.

        Called before a step is built of it; UserError where the pair has nothing that it could work on.
        """
        del images, model, guide
        return self

    def check(self, drawn: Mapping[str, Site], wanted: Mapping[str, Site]) -> None:
        """One-line UserError where the guide's and the model's latent sites do not suit the objective."""
        del drawn, wanted

    def check_observed(self, observed: Mapping[str, Site]) -> None:
        """One-line UserError where the sites that the model observes do not."""
        del observed


def weighted_rate(terms: Terms, slopes: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Σⱼ slopeⱼ·KLⱼ of each image: each code's KL (image, *dims) under weights that broadcast to (*dims)."""
    return sum(terms.whole(rate * slopes[name]) for name, (_, rate) in terms.codes.items())


def score_gradient(cost: torch.Tensor, score: torch.Tensor | None) -> torch.Tensor | float:
    """Zero in value; its gradient is the score-function part, each image's cost less the mean of the others', in
    whichever process they are.

    Shapes: cost and score (..., image), any draws first.
    """
    if score is None:
        return 0.0
    cost = cost.detach()
    others = (total(cost.sum(-1, keepdim=True)) - cost) / max(cost.shape[-1] * count() - 1, 1)
    surrogate = ((cost - others) * score).mean()
    return surrogate - surrogate.detach()
