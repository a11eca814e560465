"""Pareto smoothing: ArviZ's numbers to rounding, the known shape of known tails, and the ends of the range."""

import arviz_stats  # noqa: F401 - the accessor of xarray
import numpy as np
import pytest
import xarray as xr
from scipy.special import logsumexp

from ppvae.diagnostics import good_pareto_k, pareto_smooth, psis_log_weights
from ppvae.diagnostics.pareto import CELLS, tail_length
from ppvae.errors import UserError

KINDS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy": lambda rng, shape: 2 * rng.standard_t(3, size=shape),
    "far from zero": lambda rng, shape: 30 * rng.normal(size=shape) - 1e4,
    "nearly constant": lambda rng, shape: 1e-4 * rng.normal(size=shape),
    "bounded": lambda rng, shape: rng.uniform(size=shape),
}


@pytest.mark.parametrize("shape", [(2, 3, 30), (6, 64), (4, 226), (3, 1000)])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_shapes_are_those_of_arviz(kind, shape):
    """ArviZ takes the negative of the log ratios. Log weights are up to 1e4 nats here: 1e-11 is their rounding."""
    ratios = KINDS[kind](np.random.default_rng(3), shape)
    dims = ("a", "b", "draw")[-len(shape) :]
    expected, shapes = xr.DataArray(-ratios, dims=dims).azstats.psislw(dim=["draw"])
    log_weights, found = psis_log_weights(ratios)
    np.testing.assert_allclose(found, shapes, rtol=0, atol=1e-13)
    np.testing.assert_allclose(log_weights, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(logsumexp(log_weights, axis=-1), 0, atol=1e-12)


@pytest.mark.parametrize("shape", [0.0, 0.3, 0.6, 1.0])
def test_the_shape_of_a_pareto_tail_is_found(shape):
    """Weights (u^−k − 1)/k: k̂ has the weak prior's pull (300k + 5)/310 and an error of (1 + k)/√300 a set (Smith 1987).

    A mean over 200 sets has 1/√200 of it; five of these errors, and 0.02 for the small-sample bias of the fit."""
    draws = 10_000
    uniform = np.random.default_rng(1).random((200, draws))
    weights = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    found = pareto_smooth(np.log(weights))[1]
    pull = (300 * shape + 5) / 310
    assert abs(found.mean() - pull) < 5 * (1 + shape) / np.sqrt(300 * 200) + 0.02


def test_smoothing_keeps_the_body_the_order_and_the_largest_ratio():
    ratios = 3 * np.random.default_rng(0).normal(size=(20, 400))
    smoothed, _ = pareto_smooth(ratios)
    tail = tail_length(400)
    order = np.argsort(ratios, axis=-1)
    body, top = order[:, :-tail], order[:, -tail:]
    np.testing.assert_array_equal(np.take_along_axis(smoothed, body, -1), np.take_along_axis(ratios, body, -1))
    assert (np.diff(np.take_along_axis(smoothed, top, -1)) >= 0).all()
    assert (smoothed.max(-1) <= ratios.max(-1)).all()
    assert (smoothed != ratios).any(-1).all()


def test_smoothed_weights_have_less_error():
    """Weights (u^−k − 1)/k at k = 0.7 have the mean 1/(1 − k) and no variance; the absolute error of their mean over
    200 draws, averaged over 2 000 sets, falls by more than three standard errors of the paired difference."""
    shape = 0.7
    weights = (np.random.default_rng(4).random((2000, 200)) ** -shape - 1) / shape
    smoothed, _ = pareto_smooth(np.log(weights))
    plain, smooth = (np.abs(values.mean(-1) - 1 / (1 - shape)) for values in (weights, np.exp(smoothed)))
    difference = plain - smooth
    assert difference.mean() > 3 * difference.std() / np.sqrt(2000)


def test_constant_ratios_are_good_and_kept():
    """Where q is exact; rounding noise counts as constant only as far as ``resolution`` says."""
    constant = np.full((2, 100), -873.2)
    smoothed, shape = pareto_smooth(constant)
    np.testing.assert_array_equal(shape, -np.inf)
    np.testing.assert_array_equal(smoothed, constant)
    noisy = constant + 1e-5 * np.random.default_rng(0).normal(size=(2, 100))
    assert np.isfinite(pareto_smooth(noisy)[1]).all()
    found = pareto_smooth(noisy, resolution=np.array([1e-3, 0.0]))[1]
    assert found[0] == -np.inf
    assert np.isfinite(found[1])


def test_one_draw_with_all_the_weight_is_bad():
    ratios = np.random.default_rng(0).normal(size=(2, 100))
    ratios[:, 7] = 800
    assert (pareto_smooth(ratios)[1] == np.inf).all()


def test_what_cannot_be_fitted_is_nan_and_kept():
    ratios = np.random.default_rng(0).normal(size=(4, 100))
    ratios[0, 3], ratios[1, 3], ratios[2] = np.nan, np.inf, -np.inf
    smoothed, shape = pareto_smooth(ratios)
    np.testing.assert_array_equal(np.isnan(shape), [True, True, True, False])
    np.testing.assert_array_equal(smoothed[:3], ratios[:3])
    few = ratios[3:, :29]
    smoothed, shape = pareto_smooth(few)
    assert np.isnan(shape).all()
    np.testing.assert_array_equal(smoothed, few)
    assert np.isfinite(pareto_smooth(ratios[3:, :30])[1]).all()


@pytest.mark.parametrize(("jump", "bad"), [(100.0, False), (690.0, False), (710.0, True)])
def test_a_tail_of_ties_is_no_fit_unless_one_draw_holds_all_weight(jump, bad):
    """Beyond 700 nats nothing else is left of the weights; below, ties are ties."""
    ratios = np.zeros(100)
    ratios[7] = jump
    smoothed, shape = pareto_smooth(ratios)
    assert np.isinf(shape) if bad else np.isnan(shape)
    np.testing.assert_array_equal(smoothed, ratios)


def test_weights_of_zero_are_no_obstacle():
    ratios = np.random.default_rng(0).normal(size=200)
    ratios[:60] = -np.inf
    log_weights, shape = psis_log_weights(ratios)
    assert np.isfinite(shape)
    assert (log_weights[:60] == -np.inf).all()
    assert logsumexp(log_weights) == pytest.approx(0, abs=1e-12)


def test_rows_do_not_know_each_other():
    """However many there are, and in whatever order; chunks of the fit included."""
    ratios = np.random.default_rng(0).normal(size=(CELLS // (94 * 39) + 7, 1000))
    whole = pareto_smooth(ratios)
    for some in (slice(0, 1), slice(-3, None)):
        alone = pareto_smooth(ratios[some])
        np.testing.assert_array_equal(alone[0], whole[0][some])
        np.testing.assert_array_equal(alone[1], whole[1][some])


def test_thresholds():
    assert good_pareto_k(100) == pytest.approx(0.5)
    assert good_pareto_k(10_000) == 0.7
    assert [tail_length(n) for n in (30, 225, 1000)] == [6, 45, 94]
    with pytest.raises(UserError, match="log_ratios came with shape"):
        pareto_smooth(np.zeros((3, 0)))
