"""With a linear decoder: closed optima against minimisation of the bounds themselves, and what rotations change."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize
from torch.distributions import Gamma, kl_divergence

from ppvae.distributions import PrecisionNormal
from ppvae.errors import UserError
from ppvae.selection import (
    NormalGammaPath,
    linear_loss,
    linear_optimum,
    normal_cost,
    normal_gamma_cost,
    soft_thresholding,
    student_t_cost,
    water_filling,
)

EIGENVALUES = np.array([9.0, 5.0, 2.5, 0.6, 0.2])
NOISE = 0.7
SWITCH = 0.01
PATH = NormalGammaPath()


def minimised(start: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    found = start.double().clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [found], max_iter=3000, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(found)
        value.backward()
        return value

    optimiser.step(closure)
    return found.detach()


def rotation(size: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def log_cost(ratios: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.log1p(ratios)


@pytest.mark.parametrize("latents", [1, 2, 5, 9])
def test_water_filling_is_the_minimum_for_the_normal_prior(latents):
    torch.manual_seed(latents)
    eigenvalues = torch.tensor(EIGENVALUES)
    loss = lambda encoder: linear_loss(encoder, eigenvalues, log_cost, NOISE)  # noqa: E731
    encoder = minimised(torch.randn(latents, 5), loss)
    expected = water_filling(EIGENVALUES, latents, NOISE)
    np.testing.assert_allclose(loss(encoder), expected["loss"], atol=1e-6)
    found = encoder.square().sum(1).sort(descending=True).values
    np.testing.assert_allclose(found, expected["signal_to_noise"], atol=2e-3)
    assert int(expected["used"]) == min(latents, (EIGENVALUES > NOISE).sum())


@pytest.mark.parametrize("latents", [1, 2, 5, 9])
def test_soft_thresholding_is_the_minimum_of_the_joint_bound_itself(latents):
    """Of decoder W and encoder A, the bound as the pair has it: the nuclear norm comes out by itself."""
    torch.manual_seed(latents)
    root = torch.tensor(EIGENVALUES).sqrt()
    shape, rate = (torch.tensor(float(value)) for value in PATH.gamma(SWITCH))
    precision, one = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    penalty = latents * kl_divergence(Gamma(shape.double(), rate.double()), Gamma(one + 8.25, one + 3.62))

    def bound(both: torch.Tensor) -> torch.Tensor:
        decoder, encoder = both[0].T, both[1]  # (5, latent), (latent, 5) of white images
        rest = (torch.diag(root) - decoder @ encoder).square().sum() + decoder.square().sum() * PATH.variance(SWITCH)
        code = PrecisionNormal(encoder, precision, mean_precision=shape / rate)
        return 0.5 * rest / NOISE + kl_divergence(code, PrecisionNormal(one, precision)).sum() + penalty

    both = minimised(0.5 * torch.randn(2, latents, 5), bound)
    expected = soft_thresholding(EIGENVALUES, latents, NOISE, SWITCH)
    np.testing.assert_allclose(bound(both), expected["loss"], rtol=1e-6)
    singular = torch.linalg.svdvals(both[0].T @ both[1])[:latents]
    threshold = (float(PATH.excess(SWITCH)) * NOISE) ** 0.5
    np.testing.assert_allclose(singular[:5], np.maximum(EIGENVALUES**0.5 - threshold, 0)[:latents], atol=1e-4)


def test_the_nuclear_norm_is_the_least_of_its_factors():
    torch.manual_seed(0)
    matrix, (a, b) = torch.randn(4, 3, dtype=torch.float64), (0.3, 2.0)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    nuclear = (a * b) ** 0.5 * float(values.sum())

    def weight(decoder: torch.Tensor, encoder: torch.Tensor) -> float:
        return float(0.5 * (a * decoder.square().sum() + b * encoder.square().sum()))

    balanced = (b / a) ** 0.25 * left * values.sqrt(), (a / b) ** 0.25 * values.sqrt()[:, None] * right
    np.testing.assert_allclose(weight(*balanced), nuclear, rtol=1e-12)
    for seed in range(20):  # any other factors, through an invertible matrix
        torch.manual_seed(seed)
        change = torch.eye(3, dtype=torch.float64) + 0.3 * torch.randn(3, 3, dtype=torch.float64)
        assert weight(balanced[0] @ change, torch.linalg.solve(change, balanced[1])) > nuclear


def test_a_rotation_over_all_latents_costs_nothing_under_the_joint_bound_alone():
    axes = torch.diag(torch.tensor(soft_thresholding(EIGENVALUES, 5, NOISE, SWITCH)["signal_to_noise"].values).sqrt())
    slope = 0.5 * float(PATH.excess(SWITCH))
    eigenvalues = torch.tensor(EIGENVALUES)
    wide = torch.cat([axes, torch.zeros(3, 5, dtype=torch.float64)])
    losses = {"joint": lambda ratios: slope * ratios, "normal": log_cost, "convex": lambda ratios: ratios.square()}
    for seed in range(5):
        turned = rotation(8, seed) @ wide
        change = {
            name: float(linear_loss(turned, eigenvalues, cost) - linear_loss(wide, eigenvalues, cost))
            for name, cost in losses.items()
        }
        assert abs(change["joint"]) < 1e-10
        assert change["normal"] > 0.1
        assert change["convex"] < -0.1


def test_with_a_p_for_each_latent_the_joint_bound_takes_the_axes_by_a_thousandth_of_a_nat():
    torch.manual_seed(0)
    eigenvalues = torch.tensor([37.0, 17.0, 1.0, 1.0]).double()

    def bound(both: torch.Tensor) -> torch.Tensor:
        """Of encoder and log s, (latent, 4 + 1), the KL by torch."""
        switch = both[:, 4].sigmoid()
        shape, rate = (low + (high - low) * switch for low, high in ((3.65, 902.0), (0.24, 810.9)))
        gammas = Gamma(shape, rate), Gamma(torch.full_like(shape, 8.25), torch.full_like(shape, 3.62))
        return linear_loss(both[:, :4], eigenvalues, lambda s: 0.5 * shape / (shape - 1) * s + kl_divergence(*gammas))

    found = minimised(torch.cat([torch.randn(3, 4), torch.full((3, 1), -5.7)], 1), bound)
    expected = linear_optimum(eigenvalues, 3, normal_gamma_cost)
    np.testing.assert_allclose(bound(found), expected["loss"], atol=1e-4)
    ratios = found[:, :4].square().sum(1).sort(descending=True).values
    np.testing.assert_allclose(ratios, expected["signal_to_noise"], atol=0.02)
    split = 2 * normal_gamma_cost(ratios[0] / 2) - normal_gamma_cost(ratios[0]) - normal_gamma_cost(0.0)
    assert 0 < split < 0.01  # what halves of the strongest cost more; under the normal prior:
    assert 2 * normal_cost(ratios[0] / 2) - normal_cost(ratios[0]) > 0.3


def test_a_convex_cost_spreads_evenly():
    torch.manual_seed(0)
    eigenvalues = torch.tensor([9.0, 5.0]).double()
    encoder = minimised(torch.randn(4, 2), lambda b: linear_loss(b, eigenvalues, lambda s: 0.1 * s + 0.1 * s.square()))
    ratios = encoder.square().sum(1)
    np.testing.assert_allclose(ratios, ratios.mean(), rtol=1e-3)


@pytest.mark.parametrize("latents", [1, 3, 8])
def test_axis_by_axis_the_closed_forms_are_found(latents):
    water = linear_optimum(EIGENVALUES, latents, normal_cost, NOISE)
    soft = linear_optimum(EIGENVALUES, latents, lambda ratios: normal_gamma_cost(ratios, SWITCH), NOISE)
    for found, expected in (
        (water, water_filling(EIGENVALUES, latents, NOISE)),
        (soft, soft_thresholding(EIGENVALUES, latents, NOISE, SWITCH)),
    ):
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-9)
        np.testing.assert_allclose(found["signal_to_noise"], expected["signal_to_noise"], rtol=1e-4)
        assert int(found["used"]) == int(expected["used"])


def test_without_a_switch_it_is_the_one_of_the_least_kl():
    found = soft_thresholding([0.0], 1)
    np.testing.assert_allclose(found["rate"], PATH.kl(np.geomspace(1e-4, 0.1, 20_000)).min(), atol=1e-7)


def test_the_ratio_under_the_joint_bound_is_the_root_of_that_under_the_normal_prior():
    """As long as the precision is known, α → ∞: (1 + S)² = 1 + S of the normal prior."""
    path = NormalGammaPath(uninformative=(1e7, 1e7))
    joint, normal = soft_thresholding(EIGENVALUES, 5, NOISE, 1.0, path), water_filling(EIGENVALUES, 5, NOISE)
    np.testing.assert_allclose((1 + joint["signal_to_noise"]) ** 2, 1 + normal["signal_to_noise"], rtol=1e-6)
    assert int(joint["used"]) == int(normal["used"]) == 3


def test_no_encoder_beats_the_axes_under_the_marginal_bound():
    eigenvalues, ratios = np.array([9.0, 5.0]), np.linspace(0, 30, 301) ** 2 / 30
    cost = CubicSpline(ratios, student_t_cost(ratios), extrapolate=True)
    expected = linear_optimum(eigenvalues, 2, student_t_cost)

    def loss(flat: np.ndarray) -> float:
        encoder = flat.reshape(2, 2)
        left = np.linalg.inv(np.eye(2) + encoder.T @ encoder).diagonal()
        return float(0.5 * (eigenvalues * left).sum() + cost((encoder**2).sum(1)).sum())

    start = rotation(2, 0).numpy().ravel()
    found = minimize(loss, start, method="Nelder-Mead", options={"maxfev": 250})
    assert found.fun > float(expected["loss"]) - 1e-4
    np.testing.assert_allclose(found.fun, expected["loss"], atol=1e-2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: water_filling([1.0, -1.0], 2), "eigenvalues="),
        (lambda: water_filling([1.0], 0), "latents=0"),
        (lambda: soft_thresholding([1.0], 1, noise=0.0), "noise=0.0"),
        (lambda: linear_optimum([], 1, normal_cost), "eigenvalues="),
    ],
)
def test_numbers_that_cannot_be_end_in_one_line(call, said):
    with pytest.raises(UserError, match=said):
        call()
