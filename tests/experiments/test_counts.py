"""What counts are held against: each column alone, and a density of counts by PPCA of their logarithm."""

import numpy as np
import pytest
from scipy import integrate, stats

from experiments.benchmarks.counts import _columns_alone, _density, counts_table
from experiments.benchmarks.ppca import PPCA


def test_the_table_has_the_means_and_variances_of_its_negative_binomials():
    """Standardised by μ and μ + μ²/4, 240 000 entries: mean 0 and variance 1 to five standard errors."""
    drawn = counts_table(4000, 0)
    standard = (drawn.counts - drawn.means) / np.sqrt(drawn.means + drawn.means**2 / 4)
    assert abs(standard.mean()) < 5 / standard.size**0.5
    assert abs((standard**2).mean() - 1) < 5 * (standard**2).std() / standard.size**0.5


def test_a_column_alone_is_the_negative_binomial_that_drew_it():
    """Of 20 000 counts the fitted one's log p is within a thousandth of the true one's."""
    random = np.random.default_rng(0)
    seen, apart = stats.nbinom(2.0, 0.25).rvs((2, 20_000, 1), random_state=random)
    expected = stats.nbinom(2.0, 0.25).logpmf(apart).mean()
    assert _columns_alone(seen, apart).mean() == pytest.approx(expected, abs=1e-3)


def test_the_density_of_counts_with_noise_is_that_of_their_logarithm():
    """One column: log(1 + x) normal, so that 1 + x is log-normal; what lies below zero is lost."""
    model = PPCA(np.array([[0.6]]), np.array([1.2]), 0.28)
    x = np.linspace(0, 50, 60)[:, None]
    expected = stats.lognorm(s=0.8, scale=np.exp(1.2)).logpdf(1 + x[:, 0])
    np.testing.assert_allclose(_density(model, x), expected, rtol=1e-12)
    mass, _ = integrate.quad(lambda at: float(np.exp(_density(model, np.array([[at]]))[0])), 0, 1000, limit=200)
    assert mass == pytest.approx(stats.norm(1.2, 0.8).sf(0), rel=1e-6)
