"""The variational mixture of posteriors as a prior."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import pyro
import torch
from torch import nn
from torch.distributions import Distribution

from ppvae.described import Described
from ppvae.distributions import UniformMixture
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.networks.images import check_image_shape

__all__ = ["VampPrior"]

Initial = Literal["noise", "grey"]
EDGE = 0.01  # given images are kept this far from 0 and 1, where the sigmoid is flat


class VampPrior(Described, nn.Module):
    """p(z) = (1/K) Σ_k q(z | u_k): the guide's own posterior at K learned pseudo-inputs u_k. Site ``z`` (latent).

    u_k = sigmoid of a parameter, images in [0, 1]. ``initial``: ``noise`` (each pixel a logistic normal), ``grey``
    (nearly ½), or K images (K, C, H, W) in [0, 1], for instance of the training set.

    ``guide`` needs a method ``posterior(images)`` that can score any z. It is shared: the prior trains it too, and its
    parameters are among the prior's. Layers with running statistics see the pseudo-inputs as a second batch a step.
    Train it with annealing: with the whole KL from the first step on, prior and guide agree on one posterior for all
    images before the decoder has learned to use z, and stay there.

    Errors: :class:`~ppvae.errors.UserError` for a guide without ``posterior``, of another image shape or number of
    latents, or that scores z latent by latent; for initial images of another shape or range.
    Source: Tomczak and Welling 2018.
    """

    def __init__(
        self,
        latents: int,
        image_shape: Sequence[int],
        components: int = 50,
        *,
        guide: nn.Module,
        initial: Initial | torch.Tensor = "noise",
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        check_whole("components", components, 1)
        shape = (components, *check_image_shape(image_shape))
        _check_images(guide, shape[1:])
        self.latents = latents
        self.guide = guide
        logits = _initial_logits(initial, shape)
        self.logits = nn.Parameter(logits.to(next(guide.parameters(), logits)))
        self._check_posterior()

    def forward(self) -> torch.Tensor:
        return pyro.sample("z", UniformMixture(self.components()), infer={"event_dims": ["latent"]})

    @property
    def pseudo_inputs(self) -> torch.Tensor:
        """u_1 … u_K (K, C, H, W), in [0, 1]."""
        return self.logits.sigmoid()

    def components(self) -> Distribution:
        """q(z | u_k), batch shape (K,)."""
        return self.guide.posterior(self.pseudo_inputs)

    def _check_posterior(self) -> None:
        name = type(self.guide).__name__
        with torch.no_grad(), _evaluating(self.guide):
            posterior = self.components()
        if posterior.event_shape != (self.latents,):
            raise UserError(f"the prior has {self.latents} latents, {name} has {tuple(posterior.event_shape)}")
        if any(getattr(transform, "autoregressive", False) for transform in getattr(posterior, "transforms", ())):
            raise UserError(
                f"{name} scores a z that it did not draw only latent by latent, and VampPrior scores all of them; "
                "use a guide such as MeanFieldNormal or MixtureOfEncoders, or the prior AutoregressiveFlowPrior"
            )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, which changes no running statistics; the modes come back."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield module.eval()
    finally:
        for part, mode in modes:
            part.training = mode


def _check_images(guide: nn.Module, image_shape: tuple[int, ...]) -> None:
    if not callable(getattr(guide, "posterior", None)):
        name = type(guide).__name__
        raise UserError(
            f"guide {name} has no posterior(images), which VampPrior mixes; use MeanFieldNormal or the like"
        )
    for expected in sorted({module.image_shape for module in guide.modules() if hasattr(module, "image_shape")}):
        if expected != image_shape:
            raise UserError(f"image_shape is {image_shape}, the guide's encoder takes {expected}; give both the same")


def _initial_logits(initial: Initial | torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    if not isinstance(initial, torch.Tensor):
        check_choice("initial", initial, get_args(Initial))
        return torch.randn(shape) * (1.0 if initial == "noise" else 0.01)
    if initial.shape != shape:
        raise UserError(f"initial images have shape {tuple(initial.shape)}; expected {shape}, one for each component")
    if not ((initial >= 0) & (initial <= 1)).all():
        raise UserError("initial images leave [0, 1]; scale them")
    return initial.detach().clamp(EDGE, 1 - EDGE).logit()
