"""Labels taught to a guide's classifier, around any objective."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from ppvae.errors import UserError, check_not_negative
from ppvae.objectives.around import Around
from ppvae.pair.program import Data
from ppvae.pair.terms import Terms

__all__ = ["Supervised"]

RECORDED, KNOWN = "label_log_probability", "label_known"


@final
@dataclass(frozen=True, kw_only=True)
class Supervised(Around):
    """``objective`` − α·mean over the labelled images of log q(label | x), nats: M2's term that teaches the classifier.

    The guide says log q(label | x), zero where no label is known, as the recorded site ``label_log_probability``
    (image,), and which labels are known as ``label_known``: :class:`guides.SemiSupervisedNormal` does. The mean is over
    the labelled images of a batch, and of none it is zero. It is no KL: an annealing's weight does not multiply it.
    Histories hold both sites' means over all images.

    Errors: :class:`~ppvae.errors.UserError` for a negative ``weight`` α, and for a guide that records no such sites.
    Source: Kingma, Rezende, Mohamed and Welling 2014, Eq. 9, whose α = 0.1·N goes with a sum over N images.
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        check_not_negative("weight", self.weight)

    @property
    def state(self) -> nn.Module | None:
        return self.objective.state

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        loss, terms = self.objective.evaluate(model, guide, data, numbers, warmth)
        return loss + self.weight * self._surprise(terms), terms

    def loss(self, terms: Terms, numbers: torch.Tensor, warmth: Any = 1.0) -> torch.Tensor:
        return self.objective.loss(terms, numbers, warmth) + self.weight * self._surprise(terms)

    def _surprise(self, terms: Terms) -> torch.Tensor:
        """The mean of −log q(label | x) over the labelled images, ()."""
        if not {RECORDED, KNOWN} <= set(terms.recorded):
            raise UserError(
                f"Supervised wants a guide that records {RECORDED!r} and {KNOWN!r}, and it is given images with their "
                "labels; give guides.SemiSupervisedNormal, and data of (images, labels)"
            )
        (_, told), (_, known) = terms.recorded[RECORDED], terms.recorded[KNOWN]
        return -told.sum() / known.sum().clamp(min=1)
