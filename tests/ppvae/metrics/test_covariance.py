"""Covariance metrics against closed forms, on codes whose empirical covariance is exactly the one asked for."""

import numpy as np
import pytest
import xarray as xr

from ppvae.errors import UserError
from ppvae.metrics import decorrelation, empirical_covariance, entropy, scaled_covariance


def codes_with(covariance, images: int = 500, mean: float = 3.0) -> xr.DataArray:
    """Codes (image, latent) with exactly this empirical covariance: whitened noise, coloured."""
    covariance = np.asarray(covariance, dtype=float)
    noise = np.random.default_rng(0).normal(size=(images, len(covariance)))
    noise -= noise.mean(0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T).reshape(covariance.shape))).T
    return xr.DataArray(white @ np.linalg.cholesky(covariance).T + mean, dims=("image", "latent"))


def equicorrelated(latents: int, correlation: float) -> np.ndarray:
    return np.full((latents, latents), correlation) + (1 - correlation) * np.eye(latents)


COVARIANCE = np.array([[4.0, -1.0, 0.5], [-1.0, 2.0, 0.0], [0.5, 0.0, 1.0]])


def test_covariance_is_the_one_the_codes_were_made_with():
    np.testing.assert_allclose(empirical_covariance(codes_with(COVARIANCE)), COVARIANCE, atol=1e-12)


def test_covariance_of_float32_codes_far_from_zero_keeps_its_digits():
    codes = codes_with(COVARIANCE, mean=100.0).astype(np.float32)
    np.testing.assert_allclose(empirical_covariance(codes), COVARIANCE, atol=1e-4)


def test_samples_stack_all_draws():
    """The codes split into draws of fewer images have the same covariance: every draw of every image counts once."""
    codes = codes_with(COVARIANCE)
    samples = xr.DataArray(codes.values.reshape(1, 5, 100, 3), dims=("chain", "draw", "image", "latent"))
    np.testing.assert_allclose(empirical_covariance(samples), COVARIANCE, atol=1e-12)


def test_further_dims_and_latent_names_are_kept():
    codes = codes_with(COVARIANCE).assign_coords(latent=[2, 0, 7])
    both = xr.concat([codes, 2 * codes], "model")
    assert entropy(both).dims == ("model",)
    assert empirical_covariance(both).dims == ("model", "latent", "latent_")
    np.testing.assert_array_equal(empirical_covariance(codes)["latent_"], [2, 0, 7])
    np.testing.assert_allclose(empirical_covariance(both)[1], 4 * COVARIANCE, atol=1e-12)


@pytest.mark.parametrize("latents", [1, 2, 7, 15])
def test_entropy_of_equal_variances_is_the_logarithm_of_their_number(latents):
    np.testing.assert_allclose(entropy(codes_with(np.eye(latents) * 0.3)), np.log(latents), atol=1e-12)


def test_entropy_in_closed_form_whatever_the_correlations_and_the_scale():
    shares = np.array([4, 2, 1]) / 7
    expected = -(shares * np.log(shares)).sum()
    np.testing.assert_allclose(entropy(codes_with(COVARIANCE)), expected, rtol=1e-12)
    np.testing.assert_allclose(entropy(1e-4 * codes_with(COVARIANCE)), expected, rtol=1e-12)


def test_collapsed_latents_add_no_entropy():
    codes = codes_with(np.eye(4))
    wide = xr.concat([codes, xr.zeros_like(codes) + 0.1], "latent")
    np.testing.assert_allclose(entropy(wide), np.log(4), atol=1e-12)
    assert entropy(wide).attrs["units"] == "nats"


@pytest.mark.parametrize(("latents", "correlation"), [(2, 0.5), (15, 0.079), (5, -0.2)])
def test_decorrelation_of_equal_correlations_is_their_inverse(latents, correlation):
    codes = codes_with(equicorrelated(latents, correlation))
    np.testing.assert_allclose(decorrelation(codes), 1 / abs(correlation), rtol=1e-9)
    literal = decorrelation(codes, "literal")
    np.testing.assert_allclose(literal, 1 / abs(correlation) / (latents - 1), rtol=1e-9)
    assert literal.attrs["reading"] == "literal"


def test_decorrelation_sums_absolute_covariances():
    np.testing.assert_allclose(decorrelation(codes_with(COVARIANCE)), 2 * 7 / 3, rtol=1e-12)


def test_decorrelation_without_covariance_is_infinite():
    signs = xr.DataArray([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dims=("image", "latent"))
    assert decorrelation(signs) == np.inf
    assert decorrelation(signs, "literal") == np.inf


def test_scaled_covariance_has_a_largest_entry_of_one_and_keeps_signs():
    np.testing.assert_allclose(scaled_covariance(codes_with(COVARIANCE)), COVARIANCE / 4, atol=1e-12)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((3, 2)), "codes came as ndarray"),
        (xr.DataArray(np.zeros((3, 2)), dims=("n", "latent")), r"codes came as \('n', 'latent'\)"),
        (xr.DataArray(np.zeros((1, 2)), dims=("image", "latent")), "needs a latent and two images"),
        (xr.DataArray(np.zeros((3, 0)), dims=("image", "latent")), "needs a latent and two images"),
        (xr.DataArray([[0.0, np.nan], [1.0, 2.0]], dims=("image", "latent")), "1 values that are not finite"),
        (xr.DataArray(np.ones((3, 2)), dims=("image", "latent")), "do not vary"),
    ],
)
@pytest.mark.parametrize("metric", [entropy, decorrelation, scaled_covariance])
def test_mistakes_end_in_one_line(metric, codes, message):
    with pytest.raises(UserError, match=message) as caught:
        metric(codes)
    assert "\n" not in str(caught.value)


def test_decorrelation_names_its_readings_and_needs_two_latents():
    with pytest.raises(UserError, match="choose one of mean, literal"):
        decorrelation(codes_with(COVARIANCE), "median")
    with pytest.raises(UserError, match="1 latent"):
        decorrelation(codes_with([[1.0]]))
