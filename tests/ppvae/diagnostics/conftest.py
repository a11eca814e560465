"""A linear pair with normal noise, whose posterior is known, and guides that are wrong in one way each.

z ~ N(0, I), x | z ~ N(Wz, σ²I): posterior N(Λ⁻¹Wᵀx/σ², Λ⁻¹), Λ = I + WᵀW/σ².
"""

from types import SimpleNamespace

import pyro.distributions as dist
import pytest
import torch

from experiments.benchmarks.wrong_guides import (
    COVARIANCE,
    LATENTS,
    LOADINGS,
    PIXELS,
    PRECISION,
    READOUT,
    TRIANGLE,
    VARIANCE,
    draw_images,
    guide_with,
    model,
)

GUIDES = {
    "exact": guide_with(READOUT, TRIANGLE),
    "narrow": guide_with(READOUT, 0.5 * TRIANGLE),
    "wide": guide_with(READOUT, 2 * TRIANGLE),
    "shifted": guide_with(READOUT, TRIANGLE, COVARIANCE.diagonal().sqrt()),
    "collapsed": guide_with(torch.zeros_like(READOUT), torch.eye(LATENTS).double()),
    "mean field": guide_with(READOUT, PRECISION.diagonal().rsqrt().diag()),
}


@pytest.fixture
def linear() -> SimpleNamespace:
    """``model``, ``guides`` by their fault, ``draw_images(count, seed)``, and the ``evidence`` of images, (image,)."""

    def evidence(images: torch.Tensor) -> torch.Tensor:
        covariance = LOADINGS @ LOADINGS.T + VARIANCE * torch.eye(PIXELS).double()
        return dist.MultivariateNormal(torch.zeros(PIXELS).double(), covariance).log_prob(images.flatten(1))

    return SimpleNamespace(model=model, guides=GUIDES, draw_images=draw_images, evidence=evidence)
