"""Penalties of the networks' weights around any objective."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from ppvae.errors import UserError, check_not_negative
from ppvae.objectives.around import Around
from ppvae.objectives.spectral import SpectralNorms, kernel, stacked
from ppvae.pair.program import Data
from ppvae.pair.terms import Terms

__all__ = ["Penalised"]

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class _State(nn.Module):
    """What goes from step to step: the inner objective's, the kernels' singular vectors, the penalty for histories."""

    def __init__(self) -> None:
        super().__init__()
        self.inner: nn.Module | None = None
        self.norms = SpectralNorms()
        self.register_buffer("penalty", torch.zeros(()))


@final
@dataclass(frozen=True, kw_only=True)
class Penalised(Around):
    """``objective`` + λ·Σᵢ σ_max(Wᵢ) + λ′·Σᵢ max|γᵢ|: the loss of a deep network that must not become steep.

    ``spectral``: λ, of the largest singular values of all the pair's convolutions, kernels as matrices (C_out, rest),
    transposed and depthwise ones too. ``batch_norm``: λ′, of the largest scale γ of each normalisation that has any:
    without it a normalisation would undo the first penalty. A network that model and guide share counts once. The
    singular values are estimated from below, by 40 power iterations at first and 4 in each step, which go on from those
    of the step before; they are part of the checkpoint.

    The penalty is no KL: an annealing's weight does not multiply it, whichever of the two is around the other. It is no
    part of :meth:`loss` either, which knows the pair's measurements alone; the history has it as ``penalty``.

    Errors: :class:`~ppvae.errors.UserError` for a negative weight, and for a pair without convolutions.
    Source: Vahdat and Kautz 2020, "NVAE: A deep hierarchical variational autoencoder", Eq. 5 and the paragraph on batch
    normalisation; λ = λ′ = 0.01 on MNIST, 0.1 on natural images.
    """

    spectral: float = 0.01
    batch_norm: float = 0.01
    state: nn.Module = field(default_factory=_State, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_not_negative("spectral", self.spectral)
        check_not_negative("batch_norm", self.batch_norm)
        self.state.inner = self.objective.state

    def evaluate(
        self, model: Callable, guide: Callable, data: Data, numbers: torch.Tensor, warmth: Any = 1.0
    ) -> tuple[torch.Tensor, Terms]:
        loss, terms = self.objective.evaluate(model, guide, data, numbers, warmth)
        penalty = sum(self._penalty(model, guide), torch.zeros_like(loss))
        if torch.is_grad_enabled():
            self.state.penalty.copy_(penalty.detach())
        return loss + penalty, terms

    def reported(self, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        """Both penalties together, under their weights, as ``penalty``."""
        return {"penalty": self.state.penalty.clone(), **self.objective.reported(numbers)}

    def bound_to(self, images: int, model: Callable, guide: Callable) -> Self:
        bound = super().bound_to(images, model, guide)
        bound.state.norms.begin(bound._penalised(model, guide)[0])
        return bound

    def _penalty(self, model: Callable, guide: Callable) -> list[torch.Tensor]:
        """Under its weight what each stack of kernels or scales adds, a scalar each."""
        kernels, scales = self._penalised(model, guide)
        if not self.state.norms.fit(kernels):  # in a user's own SVI: nobody said which pair it would be
            self.state.norms.begin(kernels)
        spectral = [self.spectral * self.state.norms(kernels).sum()] if kernels else []
        return [*spectral, *(self.batch_norm * one.abs().amax(-1).sum() for one in scales.values())]

    def _penalised(self, model: Callable, guide: Callable) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The pair's kernels and normalisations' scales that have a weight, each once, stacked by shape.

        UserError where there is nothing to stack.
        """
        programs = [program for program in (model, guide) if isinstance(program, nn.Module)]
        parts = list(dict.fromkeys(part for program in programs for part in program.modules()))
        kernels = [kernel(part) for part in parts if isinstance(part, _ConvNd)]
        scales = [part.weight for part in parts if isinstance(part, NORMS) and part.weight is not None]
        if self.spectral and not kernels:
            raise UserError(
                f"spectral={self.spectral}: model and guide have no convolution to penalise; "
                "give a convolutional network, spectral=0, or no penalty"
            )
        if self.batch_norm and not self.spectral and not scales:
            raise UserError(
                f"batch_norm={self.batch_norm}: model and guide have no normalisation with scales to penalise; "
                "give spectral=0.01, or no penalty"
            )
        return (
            stacked(kernels if self.spectral else []),
            stacked(one.flatten().unsqueeze(0) for one in scales if self.batch_norm),
        )
