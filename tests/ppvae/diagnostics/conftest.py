"""A linear pair with normal noise, whose posterior is known, and guides that are wrong in one way each.

z ~ N(0, I), x | z ~ N(Wz, σ²I): posterior N(Λ⁻¹Wᵀx/σ², Λ⁻¹), Λ = I + WᵀW/σ².
"""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch

LOADINGS = torch.tensor(
    [[1, 0.8, 0], [0.5, 0.6, -0.3], [0, 0.4, 0.9], [-0.7, 0, 0.6], [0.2, 0.9, 0.5], [0, -0.4, 0.7]],
    dtype=torch.float64,
)
PIXELS, LATENTS = LOADINGS.shape
VARIANCE = 0.3
PRECISION = torch.eye(LATENTS).double() + LOADINGS.T @ LOADINGS / VARIANCE
COVARIANCE = PRECISION.inverse()
READOUT = COVARIANCE @ LOADINGS.T / VARIANCE
DIMS = {"event_dims": ["channel", "row", "column"]}


def model(images: torch.Tensor) -> None:
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample(
            "z", dist.Normal(torch.zeros(LATENTS).double(), 1.0).to_event(1), infer={"event_dims": ["latent"]}
        )
        mean = (z @ LOADINGS.T).unflatten(-1, (1, 2, 3))
        pyro.sample("x", dist.Normal(mean, math.sqrt(VARIANCE)).to_event(3), obs=images, infer=DIMS)


def normal_guide(readout: torch.Tensor, scale_tril: torch.Tensor, shift: torch.Tensor | float = 0.0) -> Callable:
    def guide(images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            posterior = dist.MultivariateNormal(images.flatten(1) @ readout.T + shift, scale_tril=scale_tril)
            return pyro.sample("z", posterior, infer={"event_dims": ["latent"]})

    return guide


def draw_images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9000 + seed)  # no seed that a pair draws with
    z = torch.randn(count, LATENTS, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, PIXELS, generator=generator, dtype=torch.float64)
    return (z @ LOADINGS.T + math.sqrt(VARIANCE) * noise).unflatten(-1, (1, 2, 3))


TRIANGLE = torch.linalg.cholesky(COVARIANCE)
GUIDES = {
    "exact": normal_guide(READOUT, TRIANGLE),
    "narrow": normal_guide(READOUT, 0.5 * TRIANGLE),
    "wide": normal_guide(READOUT, 2 * TRIANGLE),
    "shifted": normal_guide(READOUT, TRIANGLE, COVARIANCE.diagonal().sqrt()),
    "collapsed": normal_guide(torch.zeros_like(READOUT), torch.eye(LATENTS).double()),
    "mean field": normal_guide(READOUT, PRECISION.diagonal().rsqrt().diag()),
}


@pytest.fixture
def linear() -> SimpleNamespace:
    """``model``, ``guides`` by their fault, ``draw_images(count, seed)``, and the ``evidence`` of images, (image,)."""

    def evidence(images: torch.Tensor) -> torch.Tensor:
        covariance = LOADINGS @ LOADINGS.T + VARIANCE * torch.eye(PIXELS).double()
        return dist.MultivariateNormal(torch.zeros(PIXELS).double(), covariance).log_prob(images.flatten(1))

    return SimpleNamespace(model=model, guides=GUIDES, draw_images=draw_images, evidence=evidence)
