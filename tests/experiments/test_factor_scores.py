"""DCI and MIG of a run: one where a latent is a factor, and nothing where there is none to tell."""

import logging

import numpy as np
import pytest
import xarray as xr

from experiments.factor_scores import factor_scores
from experiments.meanings import metric_names

IMAGES = 2000
FACTORS = ("hue", "x", "y")


@pytest.fixture(scope="module")
def factors() -> xr.Dataset:
    """Three factors of four levels, drawn evenly."""
    random = np.random.default_rng(0)
    levels = {name: ("image", random.integers(0, 4, IMAGES), {"levels": 4}) for name in FACTORS}
    return xr.Dataset(levels, coords={"image": range(IMAGES)})


def codes(factors: xr.Dataset, turn: float = 0.0) -> xr.DataArray:
    """A latent a factor, and one that is noise; the first two turned by an angle."""
    values = np.stack([factors[name].values.astype(float) for name in FACTORS], 1)
    cosine, sine = np.cos(turn), np.sin(turn)
    values[:, :2] = values[:, :2] @ np.array([[cosine, -sine], [sine, cosine]])
    noise = np.random.default_rng(1).normal(size=(IMAGES, 1))
    return xr.DataArray(np.hstack([values, noise]), dims=("image", "latent"), coords={"image": range(IMAGES)})


def test_a_latent_that_is_a_factor_scores_one(factors):
    found = factor_scores(codes(factors), factors, 0).metrics()
    assert {*found} <= {*metric_names()}
    assert found["dci"] == pytest.approx(1, abs=0.02)
    assert found["dci_completeness"] == pytest.approx(1, abs=0.02)
    assert found["dci_informativeness"] == pytest.approx(1, abs=0.01)
    assert found["mig"] == pytest.approx(1, abs=0.03)  # in 20 bins, of which four are filled


def test_factors_that_two_latents_share_score_less_though_all_is_known(factors):
    """At 45° both latents tell as much of each of two factors: their gap is none, that of the third is whole."""
    found = factor_scores(codes(factors, np.pi / 4), factors, 0).metrics()
    assert found["mig"] == pytest.approx(1 / 3, abs=0.05)
    assert found["dci"] < 0.8
    assert found["dci_informativeness"] > 0.95


def test_one_factor_or_none_has_no_scores(factors):
    assert factor_scores(codes(factors), factors[["hue"]], 0) is None
    assert factor_scores(codes(factors), None, 0) is None


def test_too_few_images_are_said_and_lose_nothing(factors, caplog):
    few = slice(2)
    with caplog.at_level(logging.WARNING, "experiments"):
        assert factor_scores(codes(factors)[few], factors.isel(image=few), 0) is None
    assert "no DCI and no MIG" in caplog.text
