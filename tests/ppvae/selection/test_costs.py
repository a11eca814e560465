"""What a latent costs: closed forms against torch's KLs, quadrature against draws, and the shapes that decide."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.distributions import Gamma, Normal, StudentT, kl_divergence

from ppvae.distributions import PrecisionNormal
from ppvae.errors import UserError
from ppvae.selection import (
    NormalGammaPath,
    cost_of_copies,
    cost_of_parts,
    latent_costs,
    normal_cost,
    normal_gamma_cost,
    normal_mismatch,
    student_t_cost,
)

RATIOS = np.array([0.0, 0.3, 4.0, 50.0])
PATH = NormalGammaPath()
QUIET = NormalGammaPath(informative=(3.65, 0.0024))  # may take a hundredth of the least variance
NODES, WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(120))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
FINE = np.linspace(0.0, 60.0, 601)


def means(ratio: float, variance: float) -> torch.Tensor:
    """Nodes of μ ~ N(0, ratio·variance)."""
    return (ratio * variance) ** 0.5 * NODES


def bends(values: np.ndarray) -> np.ndarray:
    return np.diff(values, 2)


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_normal_code_of_the_best_scale_costs_its_information(ratio):
    def mean_kl(log_variance: float) -> float:
        variance = torch.tensor(log_variance, dtype=torch.float64).exp()
        code = Normal(means(ratio, float(variance)), variance.sqrt())
        return float(kl_divergence(code, Normal(0.0, 1.0)) @ WEIGHTS)

    best = minimize_scalar(mean_kl, bounds=(-8, 2), method="bounded", options={"xatol": 1e-9})
    np.testing.assert_allclose(normal_cost(ratio), best.fun, atol=1e-9)


@pytest.mark.parametrize("switch", [0.0, 0.003, 0.4, 1.0])
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_joint_cost_is_that_of_both_sites(ratio, switch):
    shape, rate = (torch.tensor(float(value), dtype=torch.float64) for value in PATH.gamma(switch))
    precision = torch.ones((), dtype=torch.float64)  # shared, and averaged over in closed form
    code = PrecisionNormal(means(ratio, float(rate / (shape - 1))), precision, mean_precision=shape / rate)
    mean = kl_divergence(code, PrecisionNormal(torch.zeros(()), precision)) @ WEIGHTS
    expected = mean + kl_divergence(Gamma(shape, rate), Gamma(torch.tensor(8.25).double(), torch.tensor(3.62).double()))
    np.testing.assert_allclose(normal_gamma_cost(ratio, switch), expected, rtol=1e-6)


@pytest.mark.parametrize(("ratio", "switch"), [(0.0, 0.003), (2.0, 0.0003), (20.0, 0.0), (20.0, 1.0)])
def test_the_marginal_cost_by_quadrature_is_that_of_draws(ratio, switch):
    shape, rate = (float(value) for value in PATH.gamma(switch))
    torch.manual_seed(0)
    loc = torch.randn(400_000, dtype=torch.float64) * (ratio * float(PATH.variance(switch))) ** 0.5
    q = StudentT(2 * shape, loc, (rate / shape) ** 0.5)
    z = q.sample()
    terms = q.log_prob(z) - StudentT(2 * 8.25, 0.0, (3.62 / 8.25) ** 0.5).log_prob(z)
    assert abs(float(student_t_cost(ratio, switch)) - float(terms.mean())) < 4.5 * float(terms.std()) / 400_000**0.5


def test_a_guide_that_is_the_prior_pays_nothing():
    path = NormalGammaPath(informative=(8.25, 3.62))
    np.testing.assert_allclose([student_t_cost(0.0, 0.0, path), normal_gamma_cost(0.0, 0.0, path)], 0, atol=1e-6)


@pytest.mark.parametrize("path", [PATH, QUIET])
@pytest.mark.parametrize("switch", [0.0, 1e-4, 0.05, None])
def test_information_is_the_least_and_the_joint_cost_the_most(switch, path):
    """By data processing, twice: no prior is cheaper than the mutual information, no marginal KL above the joint."""
    information, marginal = normal_cost(FINE), student_t_cost(FINE, switch, path)
    assert (information <= marginal + 1e-5).all()
    assert (marginal <= normal_gamma_cost(FINE, switch, path)).all()


@pytest.mark.parametrize("switch", [0.0, 0.01, 1.0])
def test_the_joint_cost_is_linear_at_one_p_and_half_the_ratio_at_least(switch):
    cost = normal_gamma_cost(FINE, switch)
    np.testing.assert_allclose(bends(cost), 0, atol=1e-12)
    slope = (cost[1] - cost[0]) / (FINE[1] - FINE[0])
    np.testing.assert_allclose(slope, 0.5 * PATH.excess(switch), rtol=1e-9)
    assert slope > 0.5


def test_at_the_best_p_a_stronger_signal_is_called_less_informative():
    found = latent_costs(np.geomspace(0.1, 2000, 30))
    assert (np.diff(found["normal_gamma_variance"]) >= 0).all()
    ends = found["normal_gamma_variance"].values[[0, -1]]
    np.testing.assert_allclose(ends, [0.524, PATH.variance(1.0)], atol=2e-3)
    grid = normal_gamma_cost(found["signal_to_noise"].values[None], None)[0]
    tried = [normal_gamma_cost(found["signal_to_noise"], s) for s in np.linspace(1e-4, 1, 3000)]
    np.testing.assert_allclose(found["normal_gamma"], grid)
    assert (found["normal_gamma"].values <= np.min(tried, 0) + 1e-4).all()


def test_every_cost_is_concave_in_the_ratio_but_the_joint_one_next_to_linear():
    for cost in (normal_cost, normal_gamma_cost, student_t_cost):
        assert (bends(cost(FINE)) < 1e-7).all()
    gains = [cost_of_copies(5.0, 2, cost) - cost(5.0) - cost(0.0) for cost in (normal_cost, normal_gamma_cost)]
    assert gains[0] > 0.35
    assert 0 < gains[1] < 0.03


def test_copies_cost_more_under_a_concave_cost_and_parts_the_same_under_the_logarithm():
    copies = [float(cost_of_copies(36.0, k, normal_cost)) for k in (1, 2, 4, 8)]
    assert (np.diff(copies) > 0.5).all()
    np.testing.assert_allclose([cost_of_parts(4.0, k, normal_cost) for k in (1, 2, 8)], 4.0)
    half = [float(cost_of_parts(4.0, k, lambda ratios: 0.5 * ratios)) for k in (1, 4, 16, 10_000)]
    assert (np.diff(half) < 0).all()
    np.testing.assert_allclose(half[-1], 4.0, rtol=1e-3)


def test_the_joint_bound_wants_many_weak_parts_and_the_marginal_one_as_many_as_its_least_noise_asks():
    latents = np.array([1, 2, 3, 4, 8, 16, 32])
    total = {
        name: np.array(
            [cost_of_parts(4.0, int(k), cost) + (32 - k) * cost(0.0) for k in latents]
        )  # unused ones pay, too
        for name, cost in {
            "joint": normal_gamma_cost,
            "marginal": student_t_cost,
            "quiet": lambda ratios: student_t_cost(ratios, None, QUIET),
        }.items()
    }
    assert (np.diff(total["joint"]) < 0).all()
    assert latents[total["marginal"].argmin()] >= 4
    assert total["marginal"][0] > 20
    assert total["quiet"][1] < 4.5


def test_the_marginal_bound_is_held_up_by_the_least_noise_of_its_guide():
    found = latent_costs(np.array([1.0, 10.0, 100.0, 1000.0]))
    assert found["student_t_variance"].values[0] > PATH.variance(0.0) * 1.5
    np.testing.assert_allclose(found["student_t_variance"].values[1:], PATH.variance(0.0))
    excess = found["student_t"] - found["information"]
    assert float(excess[2]) > 3
    assert float(student_t_cost(100.0, None, QUIET) - normal_cost(100.0)) < 0.1


@pytest.mark.parametrize("freedom", [1.0, 16.5])
def test_heavy_tails_charge_a_constant_whatever_the_ratio(freedom):
    """The mean KL itself, over means and noise, against information plus mismatch: at the best scale they are equal."""
    prior = StudentT(freedom)

    def mean_kl(log_variance: float, ratio: float) -> float:
        variance = float(np.exp(log_variance))
        z = means(ratio, variance)[:, None] + variance**0.5 * NODES
        entropy = 0.5 * np.log(2 * np.pi * np.e * variance)
        return -entropy - float(WEIGHTS @ prior.log_prob(z) @ WEIGHTS)

    for ratio in (0.0, 0.5, 30.0):
        best = minimize_scalar(mean_kl, bounds=(-6, 4), args=(ratio,), method="bounded", options={"xatol": 1e-8})
        np.testing.assert_allclose(best.fun, normal_cost(ratio) + normal_mismatch(freedom), atol=1e-4)


def test_more_degrees_of_freedom_are_nearer_to_the_normal():
    found = [normal_mismatch(freedom) for freedom in (1.0, 4.0, 16.5, 1000.0)]
    assert (np.diff(found) < 0).all()
    assert 0 < found[-1] < 1e-5


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: normal_cost(-1.0), "signal_to_noise=-1.0: expected finite"),
        (lambda: cost_of_copies(1.0, 0, normal_cost), "latents=0"),
        (lambda: normal_mismatch(0.0), "freedom=0.0"),
        (lambda: NormalGammaPath(informative=(0.9, 1.0)), "expected a shape above one"),
        (lambda: NormalGammaPath(prior=(1.0, -1.0)), "prior=-1.0"),
    ],
)
def test_numbers_that_cannot_be_end_in_one_line(call, said):
    with pytest.raises(UserError, match=said):
        call()
