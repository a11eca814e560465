"""Grades rank faults by their size, and forgive what is certain and negligible."""

import numpy as np
import pytest
import xarray as xr

from ppvae import UserError
from ppvae.diagnostics import diagnose, graded
from ppvae.diagnostics.diagnosis import TESTS
from ppvae.diagnostics.grades import GRADES, OF_THE_CODE, SCALES


def findings(test: str, statistic: float, verdict: str, threshold: float = 1.0) -> xr.Dataset:
    columns = {"statistic": [statistic], "threshold": [threshold], "verdict": [verdict]}
    return xr.Dataset({name: ("test", column) for name, column in columns.items()}, coords={"test": [test]})


@pytest.mark.parametrize(
    ("test", "statistic", "verdict", "effect", "judgement"),
    [
        ("tightness", 0.4, "pass", "0.4 nats", "pass"),
        ("tightness", 7.0, "warn", "7 nats", "warn, moderate"),
        ("tightness", 150.5, "fail", "150 nats", "fail, extreme"),
        ("tightness", np.inf, "fail", "∞ nats", "fail, extreme"),
        ("pareto k", 0.62, "fail", "62 % of images", "fail, large"),
        ("calibration", 0.02, "warn", "distance 0.02", "pass, detectable but negligible"),
        ("width", 0.5, "fail", "× 0.5", "fail, large"),
        ("width", 2.0, "fail", "× 2", "fail, large"),
        ("width", 1.04, "warn", "× 1", "pass, detectable but negligible"),
        ("posterior predictive", 1.0, "fail", "100 % of images", "fail, extreme"),
        ("information", -1241.3, "fail", "−1\u2009241 nats", "fail"),
        ("information", 0.2, "fail", "0.2 nats", "fail"),
        ("bias", 0.3, "not run", "distance 0.3", "not run"),
        ("bias", np.nan, "not run", "", "not run"),
    ],
)
def test_an_effect_has_its_unit_and_its_grade(test, statistic, verdict, effect, judgement):
    found = graded(findings(test, statistic, verdict)).isel(test=0)
    assert (found["effect"].item(), found["judgement"].item()) == (effect, judgement)


@pytest.mark.parametrize(
    ("draws", "grade"), [(40, "negligible"), (7, "small"), (3, "moderate"), (1.5, "large"), (1, "extreme")]
)
def test_effective_draws_are_a_share_of_all(draws, grade):
    """Of 100, whose threshold is ten; one draw alone is the least there can be."""
    found = graded(findings("effective draws", draws, "fail", 10.0)).isel(test=0)
    assert (found["effect"].item(), found["grade"].item()) == (f"{draws} % of draws", grade)


def test_every_test_has_a_scale_and_ends_that_rise():
    assert {*SCALES, *OF_THE_CODE} == {*TESTS}
    assert all(len(scale.ends) == len(GRADES) - 1 and np.all(np.diff(scale.ends) > 0) for scale in SCALES.values())


def test_no_statistic_is_no_grade():
    found = graded(diagnose(xr.DataTree()))
    assert set(found["judgement"].values.tolist()) == {"not run"}
    assert set(found["grade"].values.tolist()) == {""}


def test_another_dataset_is_refused():
    with pytest.raises(UserError, match="findings is not what diagnose returns"):
        graded(xr.Dataset())
