"""KLs of the Normal-Gamma pair against the paper's formulas, torch's and Monte Carlo."""

import math

import pytest
import torch
from torch.distributions import Gamma, Normal, kl_divergence

from ppvae.distributions import GRepGamma, PrecisionNormal

PRIOR = (8.25, 3.62)
ENDS = [(3.65, 0.24), (902.0, 810.9), (0.7, 1.0), PRIOR]
DRAWS = 100_000


def double(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def equation_10(a1: float, b1: float, a: float, b: float) -> float:
    """KL(Gamma(a1, b1) ‖ Gamma(a, b)), rates, Jouffroy et al., Eq. 10."""
    digamma = float(torch.digamma(torch.tensor(a1, dtype=torch.float64)))
    entropies = a * math.log(b1 / b) - math.lgamma(a1) + math.lgamma(a)
    return entropies + (a1 - a) * digamma - (b1 - b) * a1 / b1


@pytest.mark.parametrize("family", [Gamma, GRepGamma])
@pytest.mark.parametrize("end", ENDS)
def test_gamma_kl_is_equation_10(family, end):
    kl = kl_divergence(family(*double(*end)), Gamma(*double(*PRIOR)))
    assert kl.item() == pytest.approx(equation_10(*end, *PRIOR), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("end", ENDS[:3])
def test_gamma_kl_is_the_mean_log_ratio(end, within_errors):
    q, p = Gamma(*double(*end)), Gamma(*double(*PRIOR))
    draws = q.sample((DRAWS,))
    within_errors(q.log_prob(draws) - p.log_prob(draws), equation_10(*end, *PRIOR), resolution=0.05)


def test_shared_precision_leaves_the_distance_of_the_means():
    precision, q_loc, p_loc = torch.rand(3, 5, 4, dtype=torch.float64)
    kl = kl_divergence(PrecisionNormal(q_loc, precision), PrecisionNormal(p_loc, precision))
    torch.testing.assert_close(kl, precision * (q_loc - p_loc).square() / 2)


def test_mean_precision_replaces_the_sampled_one():
    precision, mean_precision, q_loc, p_loc = torch.rand(4, 5, 4, dtype=torch.float64)
    q = PrecisionNormal(q_loc, precision, mean_precision=mean_precision)
    kl = kl_divergence(q, PrecisionNormal(p_loc, precision))
    torch.testing.assert_close(kl, mean_precision * (q_loc - p_loc).square() / 2)
    assert not torch.allclose(kl, precision * (q_loc - p_loc).square() / 2)


@pytest.mark.parametrize("mean_precision", [None, torch.tensor(7.0)])
def test_different_precisions_give_the_kl_of_two_normals(mean_precision):
    q_precision, p_precision, q_loc, p_loc = torch.rand(4, 5, 4) + 0.1
    q = PrecisionNormal(q_loc, q_precision, mean_precision=mean_precision)
    kl = kl_divergence(q, PrecisionNormal(p_loc, p_precision))
    expected = kl_divergence(Normal(q_loc, q_precision**-0.5), Normal(p_loc, p_precision**-0.5))
    torch.testing.assert_close(kl, expected)


def test_equal_but_distinct_precisions_are_not_mistaken_for_shared_ones():
    """Equal numbers may come from two sites; both formulas agree there, and only there."""
    loc, precision = torch.rand(2, 4)
    q = PrecisionNormal(loc, precision, mean_precision=2 * precision)
    expected = precision * (loc - 0.5).square() / 2
    torch.testing.assert_close(kl_divergence(q, PrecisionNormal(torch.full((4,), 0.5), precision.clone())), expected)


def test_expanding_keeps_the_shared_precision():
    precision, mean_precision = torch.rand(4), torch.rand(4)
    q = PrecisionNormal(torch.ones(4), precision, mean_precision=mean_precision).expand((3, 4)).to_event(1)
    p = PrecisionNormal(torch.zeros(4), precision).to_event(1).expand((3,))
    assert type(q.base_dist) is type(p.base_dist) is PrecisionNormal
    torch.testing.assert_close(kl_divergence(q, p), (mean_precision / 2).sum().expand(3))


def test_precision_normal_is_a_normal():
    loc, precision, z = torch.randn(5), torch.rand(5) + 0.1, torch.randn(5)
    expected = 0.5 * (precision / (2 * math.pi)).log() - 0.5 * precision * (z - loc).square()
    torch.testing.assert_close(PrecisionNormal(loc, precision).log_prob(z), expected)


@pytest.mark.parametrize(
    ("mean", "end", "quoted"), [(0.8, ENDS[0], 36.25), (0.1, ENDS[1], 3.561), (-0.5, PRIOR, 0.285)]
)
def test_joint_kl_is_the_sum_of_equations_9_and_10(mean, end, quoted, within_errors):
    """Monte Carlo of log q(λ, z) − log p(λ, z), against E[λ]μ²/2 plus the KL of the Gammas, ``quoted``."""
    shape, rate, loc = double(*end, mean)
    q, p = Gamma(shape, rate), Gamma(*double(*PRIOR))
    precision = q.sample((DRAWS,))
    q_normal, p_normal = PrecisionNormal(loc, precision), PrecisionNormal(torch.zeros_like(loc), precision)
    z = q_normal.sample()
    sampled = q.log_prob(precision) - p.log_prob(precision) + q_normal.log_prob(z) - p_normal.log_prob(z)
    q_exact = PrecisionNormal(loc, precision, mean_precision=shape / rate)
    closed = kl_divergence(q, p) + kl_divergence(q_exact, p_normal).mean()
    assert closed.item() == pytest.approx(equation_10(*end, *PRIOR) + 0.5 * end[0] / end[1] * mean**2)
    assert closed.item() == pytest.approx(quoted, abs=5e-3)
    within_errors(sampled, closed, resolution=0.05)
