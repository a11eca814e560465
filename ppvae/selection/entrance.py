"""The weight of the rate above which no latent pays for itself."""

import math

import torch
from torch import nn

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.pair.program import Data
from ppvae.selection.first import first_pixels

__all__ = ["entrance"]

MOST = 2048  # images whose covariance is taken


def entrance(model: nn.Module, data: ImageDataset | Data) -> float:
    """The largest weight of the rate at which the first latent can enter a code that says nothing, from images alone.

    Near a collapsed code a decoder is linear in z, and what z can gain is the variance of the images along one
    direction: the weight is the largest eigenvalue of their covariance over the likelihood's variance, scale² of normal
    pixels, m(1 − m) of a Bernoulli pixel with mean m (the eigenvalue is then that of the pixels' correlation). For a
    linear decoder and normal pixels nothing enters above it and something does below; a decoder that is not linear may
    gain more at a finite distance, which was not seen so far. At most 2 048 images are looked at, the first.

    Errors: :class:`~ppvae.errors.UserError` for another likelihood, images that do not differ, or a learned scale.
    Source: Lucas et al. 2019, "Don't blame the ELBO!", for the linear case.
    """
    images = first_pixels(data, MOST).flatten(1).double()
    centred = images - images.mean(0)
    scaled = centred / _deviation(model, images)
    gram = scaled @ scaled.T if len(scaled) < scaled.shape[1] else scaled.T @ scaled
    largest = float(torch.linalg.eigvalsh(gram)[-1]) / len(images)
    if not (largest > 0 and math.isfinite(largest)):
        raise UserError("the images do not differ, so no latent could say which is which; give others")
    return largest


def _deviation(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Of each pixel under the likelihood when z says nothing; pixels that never change count for nothing."""
    likelihood = getattr(model, "likelihood", None)
    if isinstance(likelihood, NormalLikelihood) and likelihood.scale_mode == "fixed":
        return likelihood.log_scale.detach().cpu().double().exp()
    if isinstance(likelihood, BernoulliLikelihood):
        mean = images.mean(0)
        deviation = (mean * (1 - mean)).sqrt()
        return torch.where(deviation > 0, deviation, math.inf)
    kind = type(likelihood).__name__
    raise UserError(
        f"start: where the first latent enters is known for normal pixels of a fixed scale and for Bernoulli ones, not "
        f"for {kind}; give start="
    )
