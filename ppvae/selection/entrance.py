"""The weight of the rate above which no latent pays for itself."""

import math

import torch
from torch import nn

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood, RealLikelihood
from ppvae.pair.program import Data
from ppvae.selection.first import first_pixels

__all__ = ["entrance"]

MOST = 2048  # images whose covariance is taken


def entrance(model: nn.Module, data: ImageDataset | Data) -> float:
    """The largest weight of the rate at which the first latent can enter a code that says nothing, from images alone.

    Near a collapsed code a decoder is linear in z, and what z can gain is the variance of the images along one
    direction: the weight is the largest eigenvalue of their covariance over the likelihood's variance, scale² of normal
    pixels, m(1 − m) of a Bernoulli pixel with mean m (the eigenvalue is then that of the pixels' correlation). Of real
    numbers σ is learned and has become the column's own deviation, or that of all entries, before anything enters: a
    first latent shrinks it by as little as it gains, so that the eigenvalue is that of the columns' correlation; an
    entry that is missing gains and costs nothing. For a linear decoder and normal pixels nothing enters above it and
    something does below; a decoder that is not linear may gain more at a finite distance, which was not seen so far. At
    most 2 048 images are looked at, the first.

    Errors: :class:`~ppvae.errors.UserError` for another likelihood, images that do not differ, a learned scale of
    pixels, or a σ that the decoder gives.
    Source: Lucas et al. 2019, "Don't blame the ELBO!", for the linear case.
    """
    images = first_pixels(data, MOST).flatten(1).double()
    centred = images - images.nanmean(0)
    share = (~centred.isnan()).double().mean(0)  # of the images, in which an entry is there
    scaled = (centred / (_deviation(model, images) * share.sqrt())).nan_to_num(0.0)
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
    if isinstance(likelihood, RealLikelihood) and likelihood.tails == "normal" and likelihood.noise != "entry":
        squared = (images - images.nanmean(0)) ** 2
        variance = squared.nanmean(0) if likelihood.noise == "column" else squared.nanmean()
        return _or_infinite(variance).sqrt().clamp(min=likelihood.least)
    if isinstance(likelihood, BernoulliLikelihood):
        mean = images.nanmean(0)
        return _or_infinite(mean * (1 - mean)).sqrt()
    kind = type(likelihood).__name__
    raise UserError(
        f"start: where the first latent enters is known for normal pixels of a fixed scale, for Bernoulli ones and for "
        f"normal real numbers with noise=column or all, not for {kind}; give start="
    )


def _or_infinite(variance: torch.Tensor) -> torch.Tensor:
    return torch.where(variance > 0, variance, math.inf)
