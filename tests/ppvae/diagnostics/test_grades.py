"""Grades rank faults by their size, and forgive what is certain and negligible."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ppvae import UserError
from ppvae.diagnostics import diagnose, graded
from ppvae.diagnostics.diagnosis import TESTS
from ppvae.diagnostics.grades import GRADES, SCALES


def findings(test: str, size: float, verdict: str) -> xr.Dataset:
    columns = {"size": [size], "verdict": [verdict]}
    return xr.Dataset({name: ("test", column) for name, column in columns.items()}, coords={"test": [test]})


@pytest.mark.parametrize(
    ("test", "size", "verdict", "effect", "judgement"),
    [
        ("tightness", 0.4, "pass", "0.4 nats", "pass"),
        ("tightness", 7.0, "warn", "7 nats", "warn, moderate"),
        ("tightness", 150.5, "fail", "150 nats", "fail, extreme"),
        ("tightness", np.inf, "fail", "∞ nats", "fail, extreme"),
        ("pareto k", 0.62, "warn", "k̂ 0.62", "warn, moderate"),
        ("pareto k", 1.5, "fail", "k̂ 1.5", "fail, large"),
        ("calibration", 0.02, "warn", "distance 0.02", "pass, detectable but negligible"),
        ("calibration", 0.02, "fail", "distance 0.02", "fail, small"),
        ("width", 0.5, "fail", "× 0.5", "fail, large"),
        ("width", 2.0, "fail", "× 2", "fail, large"),
        ("width", 1.04, "warn", "× 1.04", "pass, detectable but negligible"),
        ("posterior predictive", 100, "fail", "100 % of images", "fail, extreme"),
        ("information", -1241.3, "fail", "−1\u2009241 nats", "fail"),
        ("information", 0.2, "fail", "0.2 nats", "fail"),
        ("bias", 0.3, "not run", "distance 0.3", "not run"),
        ("bias", np.nan, "not run", "", "not run"),
    ],
)
def test_an_effect_has_its_unit_and_its_grade(test, size, verdict, effect, judgement):
    found = graded(findings(test, size, verdict)).isel(test=0)
    assert (found["effect"].item(), found["judgement"].item()) == (effect, judgement)


@pytest.mark.parametrize(
    ("draws", "grade"), [(40, "negligible"), (7, "small"), (3, "moderate"), (1.5, "large"), (1, "extreme")]
)
def test_effective_draws_are_a_share_of_all(draws, grade):
    """Of 100; one draw alone is the least there can be."""
    found = graded(findings("effective draws", draws, "warn")).isel(test=0)
    assert (found["effect"].item(), found["grade"].item()) == (f"{draws} % of draws", grade)


def test_every_test_has_a_scale_and_ends_that_rise():
    assert {*SCALES} == {*TESTS}
    ends = [scale.ends for scale in SCALES.values() if scale.ends is not None]
    assert all(len(four) == len(GRADES) - 1 and np.all(np.diff(four) > 0) for four in ends)


def test_a_size_is_over_all_latents_and_a_verdict_by_the_worst():
    """One latent of ten whose draws are half as wide as they should be: the factor is ½ to the power of a tenth."""
    random = np.random.default_rng(0)
    ranks = random.uniform(size=(4000, 10))
    ranks[:, 3] = stats.norm.cdf(2 * random.normal(size=4000))
    group = xr.Dataset({"z": (("simulation", "latent"), ranks)}, {"latent": np.arange(10)})
    found = graded(diagnose(xr.DataTree.from_dict({"calibration": group})))
    assert found["verdict"].sel(test=["calibration", "width"]).values.tolist() == ["fail", "fail"]
    width, off = (float(found["size"].sel(test=test)) for test in ("width", "calibration"))
    assert width == pytest.approx(0.5**0.1, abs=0.015)
    worst = float(found["statistic"].sel(test="calibration"))
    assert worst == pytest.approx(0.162, abs=0.03)  # of Φ(2Φ⁻¹(u)) from u, at the most
    assert worst / 10 < off < worst / 10 + 0.02
    assert found["grade"].sel(test="width").item() == "small"


def test_no_statistic_is_no_grade():
    found = graded(diagnose(xr.DataTree()))
    assert set(found["judgement"].values.tolist()) == {"not run"}
    assert set(found["grade"].values.tolist()) == {""}


def test_another_dataset_is_refused():
    with pytest.raises(UserError, match="findings is not what diagnose returns"):
        graded(xr.Dataset())
