"""Counts: scipy's probabilities by mean and dispersion, zero-inflated by hand, and sums of one."""

import numpy as np
import pytest
import torch
from scipy import stats

from ppvae.errors import UserError
from ppvae.likelihoods import CountLikelihood
from ppvae.networks import MLPDecoder

SHAPE = (1, 1, 4)
Z = torch.zeros(2)
MEAN, TOTAL, GATE = np.array([0.2, 1.0, 6.0, 80.0]), np.array([0.5, 1.0, 3.0, 20.0]), np.array([0.1, 0.5, 0.9, 0.01])


def likelihood_of(constant, counts: str) -> CountLikelihood:
    maps = np.stack([np.log(MEAN), np.log(GATE / (1 - GATE))])[: 1 + counts.startswith("zero_inflated"), None]
    likelihood = CountLikelihood(constant(torch.from_numpy(maps), 1), counts).double()
    if hasattr(likelihood, "log_total"):
        likelihood.log_total.data = torch.from_numpy(np.log(TOTAL)).reshape(SHAPE)
    return likelihood


def probability(counts: str, x: np.ndarray) -> np.ndarray:
    base = stats.poisson(MEAN) if counts.endswith("poisson") else stats.nbinom(TOTAL, TOTAL / (TOTAL + MEAN))
    if not counts.startswith("zero_inflated"):
        return base.pmf(x)
    return GATE * (x == 0) + (1 - GATE) * base.pmf(x)


@pytest.fixture(params=["poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"])
def counts(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_probability_is_scipys(constant, counts):
    """To 1e-9 in log p, relatively: lgamma in float64."""
    x = np.array([[0, 0, 0, 0], [1, 2, 5, 70], [3, 0, 11, 95]])
    found = likelihood_of(constant, counts)(Z).log_prob(torch.from_numpy(x.astype(float)).reshape(-1, *SHAPE))
    expected = np.log(probability(counts, x)).sum(1)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9)


def test_mean_and_variance_are_those_of_the_probabilities(constant, counts):
    """Summed up to 3 000, beyond which less than 1e-12 of the mass lies."""
    x = np.arange(3000.0)
    p = probability(counts, x[:, None])
    distribution = likelihood_of(constant, counts)(Z)
    mean = (x[:, None] * p).sum(0)
    np.testing.assert_allclose(p.sum(0), 1, rtol=1e-9)
    np.testing.assert_allclose(distribution.mean.detach().numpy().ravel(), mean, rtol=1e-9)
    spread = ((x[:, None] - mean) ** 2 * p).sum(0)
    np.testing.assert_allclose(distribution.variance.detach().numpy().ravel(), spread, rtol=1e-8)


def test_it_starts_at_the_means_of_the_columns(constant, counts):
    """Of the entries that are there, with half a count added: also of a column of zeros, or of gaps."""
    likelihood = CountLikelihood(constant(torch.zeros(1 + counts.startswith("zero_inflated"), 1, 4), 1), counts)
    rows = torch.tensor([[0, 1, 0, torch.nan], [3, torch.nan, 0, torch.nan], [6, 2, 0, torch.nan]])
    likelihood.start_at(rows.reshape(-1, *SHAPE))
    mean = likelihood(Z).mean.flatten().tolist()
    assert mean == pytest.approx([9.5 / 3, 3.5 / 2, 0.5 / 3, 0.5])


def test_a_log_mean_beyond_all_bounds_keeps_the_loss_finite(constant, counts):
    likelihood = likelihood_of(constant, counts)
    likelihood.decoder.drawn = likelihood.decoder.drawn.float() + 1000
    assert torch.isfinite(likelihood.float()(Z).log_prob(torch.ones(SHAPE)))


def test_an_unknown_distribution_is_refused():
    with pytest.raises(UserError, match="counts='gamma': expected one of poisson, negative_binomial, zero_inflated"):
        CountLikelihood(MLPDecoder(2, SHAPE, (4,)), "gamma")
