"""The normal guide with full covariance: its triangle, its start, its closed-form KL."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from guides import FullCovarianceNormal
from ppvae import UserError

SHAPE, LATENTS = (1, 2, 2), 4


class Features(nn.Module):
    """An encoder that returns its images, flattened."""

    features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


def make_guide(spread: float = 1.0) -> FullCovarianceNormal:
    guide = FullCovarianceNormal(Features(), LATENTS).double()
    nn.init.normal_(guide.below.weight, std=spread)
    return guide


def test_covariance_is_the_triangles_square():
    """L by hand, row by row: exp(½h) on the diagonal, the outputs of the head below it."""
    guide, images = make_guide(), torch.randn(3, *SHAPE, dtype=torch.float64)
    posterior, features = guide.posterior(images), images.flatten(1)
    below, diagonal = guide.below(features), (guide.log_variance(features) / 2).exp()
    for image in range(3):
        outputs = iter(below[image])
        rows = [[next(outputs) for _ in range(row)] + [diagonal[image, row]] for row in range(LATENTS)]
        triangle = torch.stack([torch.stack(row + [torch.zeros(()).double()] * (LATENTS - len(row))) for row in rows])
        torch.testing.assert_close(posterior.covariance_matrix[image], triangle @ triangle.T)
    torch.testing.assert_close(posterior.mean, guide.loc(features))


def test_it_starts_near_diagonal():
    posterior = FullCovarianceNormal(Features(), LATENTS).posterior(torch.rand(20, *SHAPE))
    deviation = posterior.variance.sqrt()
    correlation = posterior.covariance_matrix / (deviation[..., None] * deviation[..., None, :])
    assert (correlation - torch.eye(LATENTS)).abs().max() < 0.05


def test_draws_have_the_covariance(within_errors):
    guide, image = make_guide(0.5), torch.randn(1, *SHAPE, dtype=torch.float64)
    with torch.no_grad():
        z, posterior = guide(image.expand(50_000, *SHAPE)), guide.posterior(image)
    centred = z - posterior.mean
    products = (centred[:, :, None] * centred[:, None]).flatten(1)
    within_errors(products, posterior.covariance_matrix.flatten(), resolution=0.1)


def test_kl_from_a_diagonal_normal_is_that_of_two_full_ones():
    """torch's closed form for two full covariances."""
    q = make_guide().posterior(torch.randn(3, *SHAPE, dtype=torch.float64))
    loc, scale = torch.randn(LATENTS).double(), torch.rand(LATENTS).double() + 0.3
    expected = kl_divergence(q, MultivariateNormal(loc, scale_tril=scale.diag()))
    torch.testing.assert_close(kl_divergence(q, dist.Normal(loc, scale).to_event(1)), expected)
    torch.testing.assert_close(kl_divergence(q, dist.Normal(loc, scale).expand((3, LATENTS)).to_event(1)), expected)


@pytest.mark.parametrize(
    "p",
    [
        dist.StudentT(5.0, torch.zeros(LATENTS)).to_event(1),
        dist.Laplace(torch.zeros(LATENTS), 1.0).to_event(1),
        dist.Normal(torch.zeros(3, LATENTS), 1.0).to_event(2),
    ],
    ids=["student", "laplace", "two event dims"],
)
def test_no_kl_is_claimed_from_other_priors(p):
    q = make_guide().posterior(torch.randn(3, *SHAPE, dtype=torch.float64))
    with pytest.raises(NotImplementedError):
        kl_divergence(q, p)


def test_torchs_own_classes_are_left_alone():
    q = make_guide().posterior(torch.randn(3, *SHAPE, dtype=torch.float64))
    p = Independent(Normal(torch.zeros(LATENTS).double(), torch.ones(LATENTS).double()), 1)
    with pytest.raises(NotImplementedError):  # the KL is registered for Pyro's classes alone
        kl_divergence(q, p)


def test_one_latent_has_no_covariance():
    with pytest.raises(UserError, match=r"latents=1.*at least 2") as error:
        FullCovarianceNormal(Features(), 1)
    assert "\n" not in str(error.value)
