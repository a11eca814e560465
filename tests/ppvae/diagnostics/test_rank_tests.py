"""Tests of ranks: their false alarms, and what each of them sees."""

from itertools import product

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ppvae.diagnostics import calibration_tests
from ppvae.diagnostics.rank_tests import holm, largest_excursion_tail
from ppvae.errors import UserError

SIMULATIONS = 400


def ranks_of(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"z": (("simulation", "latent"), values)}, coords={"latent": np.arange(values.shape[1])})


def normal_ranks(shift: float, scale: float, seed: int = 0) -> xr.Dataset:
    """Of truths N(shift, scale²) among draws of N(0, 1)."""
    noise = np.random.default_rng(seed).normal(size=(SIMULATIONS, 3))
    return ranks_of(stats.norm.cdf(shift + scale * noise))


def test_false_alarms_are_as_stated():
    """1 000 uniform latents at 10 %: within five binomial errors, or below for a test of a discrete statistic."""
    found = calibration_tests(ranks_of(np.random.default_rng(1).random((101, 1000))))
    error = 5 * np.sqrt(0.1 * 0.9 / 1000)
    for name in ("uniformity", "asymmetry", "width"):
        rejected = float((found[f"{name}_p"] <= 0.1).mean())
        assert 0.1 - error - 0.02 * (name == "asymmetry") < rejected < 0.1 + error, name


def test_the_two_sample_test_of_symmetry_would_reject_too_often():
    """Why ours is another: p and 1 − p are one sample (Yao et al. compare them as two)."""
    values = np.random.default_rng(2).random((400, 200))
    naive = np.array([stats.ks_2samp(row, 1 - row, method="asymp").pvalue for row in values])
    ours = calibration_tests(ranks_of(values.T))["asymmetry_p"].values
    assert (naive <= 0.05).mean() > 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert (ours <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("steps", [1, 2, 7, 12])
def test_excursions_of_a_walk_by_enumeration(steps):
    walks = np.cumsum(list(product((-1, 1), repeat=steps)), axis=1)
    largest = np.abs(walks).max(axis=1)
    expected = [(largest >= m).mean() for m in range(steps + 2)]
    np.testing.assert_allclose(largest_excursion_tail(np.arange(steps + 2), steps), expected, atol=1e-12)


def test_asymmetry_is_the_distance_between_p_and_its_mirror():
    values = np.random.default_rng(3).beta(2, 3, size=(50, 4))
    found = calibration_tests(ranks_of(values))["asymmetry"]
    expected = [stats.ks_2samp(column, 1 - column).statistic for column in values.T]
    np.testing.assert_allclose(found, expected)


def test_uniformity_is_scipys_test():
    values = np.random.default_rng(3).beta(1.2, 1, size=(50, 4))
    found = calibration_tests(ranks_of(values))
    expected = [stats.kstest(column, "uniform", method="exact") for column in values.T]
    np.testing.assert_allclose(found["uniformity"], [test.statistic for test in expected])
    np.testing.assert_allclose(found["uniformity_p"], [test.pvalue for test in expected], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_width_is_that_of_normal_draws_whatever_their_shift(shift, scale):
    """1/scale, within five standard errors of 1/sd."""
    found = calibration_tests(normal_ranks(shift, scale))["width"]
    np.testing.assert_allclose(found, 1 / scale, rtol=5 / np.sqrt(2 * SIMULATIONS))


@pytest.mark.parametrize(
    ("shift", "scale", "seen"),
    [(0.0, 1.0, set()), (0.0, 2.0, {"width"}), (0.0, 0.5, {"width"}), (1.0, 1.0, {"asymmetry"})],
)
def test_each_fault_is_seen_by_its_own_test_alone(shift, scale, seen):
    """Over five seeds, at 0.001 by Holm's rule: a false alarm anywhere has a chance of 2 % at most."""
    for seed in range(5):
        found = calibration_tests(normal_ranks(shift, scale, seed))
        for name in ("asymmetry", "width"):
            assert bool((found[f"{name}_adjusted"] <= 0.001).any()) == (name in seen), (name, seed)
        assert bool((found["uniformity_adjusted"] <= 0.001).any()) == bool(seen)


def test_holm_by_hand():
    """Three of four: 4 · 0.01, 3 · 0.015 (more than 0.04), 2 · 0.03, and 1 · 0.04 lifted to the one before."""
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.015])), [0.06, 0.04, 0.06, 0.045])
    assert holm(np.array([0.4, 0.9])).tolist() == [0.8, 0.9]


def test_entries_of_several_sites_are_named():
    rng = np.random.default_rng(0)
    ranks = xr.Dataset(
        {
            "cluster": ("simulation", rng.random(30)),
            "z": (("simulation", "place", "latent"), rng.random((30, 2, 2))),
        },
        coords={"place": ["a", "b"], "latent": [4, 7]},
    )
    found = calibration_tests(ranks)
    assert found["entry"].values.tolist() == ["cluster", "z[a, 4]", "z[a, 7]", "z[b, 4]", "z[b, 7]"]
    np.testing.assert_allclose(found["mean"][3], ranks["z"].sel(place="b", latent=4).mean())
    assert found.attrs["simulations"] == 30


def test_mistakes_are_named_in_one_line():
    with pytest.raises(UserError, match="expected a Dataset over dim simulation"):
        calibration_tests(xr.Dataset({"z": ("image", np.zeros(3))}))
    with pytest.raises(UserError, match="5 simulations; expected at least 20"):
        calibration_tests(ranks_of(np.full((5, 2), 0.5)))
    with pytest.raises(UserError, match=r"outside \(0, 1\)"):
        calibration_tests(ranks_of(np.full((50, 2), 1.5)))
