"""The moments' KL against torch's own, on codes whose empirical moments are exactly the ones asked for."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch.distributions import MultivariateNormal, kl_divergence

from ppvae.errors import UserError
from ppvae.metrics import moment_kl

COVARIANCE = np.array([[4.0, -1.0, 0.5], [-1.0, 2.0, 0.0], [0.5, 0.0, 0.3]])
MEAN = np.array([0.5, -2.0, 0.0])


def codes_with(mean, covariance, images: int = 60) -> xr.DataArray:
    """Codes (image, latent) with exactly these empirical moments: whitened noise, coloured."""
    noise = np.random.default_rng(0).normal(size=(images, len(mean)))
    noise -= noise.mean(0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(noise.T)))).T
    return xr.DataArray(white @ np.linalg.cholesky(covariance).T + mean, dims=("image", "latent"))


def by_torch(mean, covariance) -> float:
    mean, covariance = torch.as_tensor(mean), torch.as_tensor(covariance)
    prior = MultivariateNormal(torch.zeros_like(mean), torch.eye(len(mean), dtype=mean.dtype))
    return float(kl_divergence(MultivariateNormal(mean, covariance), prior))


@pytest.mark.parametrize("mean", [MEAN, np.zeros(3)])
@pytest.mark.parametrize("covariance", [COVARIANCE, np.eye(3), 1e-6 * np.eye(3)])
def test_it_is_the_kl_of_two_normals(mean, covariance):
    kl = moment_kl(codes_with(mean, covariance))
    np.testing.assert_allclose(kl, by_torch(mean, covariance), rtol=1e-10, atol=1e-12)  # rounding of float64
    assert kl.attrs["units"] == "nats"
    assert kl.dims == ()


@pytest.mark.parametrize("variance", [0.25, 1.0, 9.0])
def test_one_latent_in_closed_form(variance):
    """½(σ² + m² − 1 − ln σ²)."""
    expected = 0.5 * (variance + 4 - 1 - np.log(variance))
    np.testing.assert_allclose(moment_kl(codes_with([2.0], [[variance]])), expected, rtol=1e-12)


def test_samples_stack_all_draws_and_further_dims_are_kept():
    codes = codes_with(MEAN, COVARIANCE)
    samples = xr.DataArray(codes.values.reshape(1, 4, 15, 3), dims=("chain", "draw", "image", "latent"))
    np.testing.assert_allclose(moment_kl(samples), by_torch(MEAN, COVARIANCE), rtol=1e-10)
    both = moment_kl(xr.concat([codes, 2 * codes], "model").assign_coords(latent=[4, 0, 9]).transpose("latent", ...))
    assert both.dims == ("model",)
    np.testing.assert_allclose(both, [by_torch(MEAN, COVARIANCE), by_torch(2 * MEAN, 4 * COVARIANCE)], rtol=1e-10)


def test_float32_codes_far_from_zero_keep_their_digits():
    """Rounding to float32 at 100 moves a code by 4e-6 at most, its variance by about 1e-5 of itself."""
    far = MEAN + 100
    np.testing.assert_allclose(
        moment_kl(codes_with(far, COVARIANCE).astype(np.float32)), by_torch(far, COVARIANCE), rtol=1e-6
    )


def test_a_latent_without_variance_is_infinitely_far():
    codes = codes_with(MEAN, COVARIANCE)
    assert moment_kl(codes * [1, 0, 1]) == np.inf
    alone = moment_kl(xr.concat([codes, codes * [1, 0, 1]], "model"))
    assert np.isfinite(alone[0])
    assert alone[1] == np.inf


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        (xr.DataArray(np.zeros((5, 2)), dims=("image", "k")), "latent"),
        (xr.DataArray(np.zeros((1, 2)), dims=("image", "latent")), "two images"),
        (xr.DataArray(np.full((5, 2), np.nan), dims=("image", "latent")), "10 values that are not finite"),
        (np.zeros((5, 2)), "ndarray"),
    ],
    ids=["dims", "one image", "not finite", "no DataArray"],
)
def test_wrong_codes_end_in_one_line(codes, match):
    with pytest.raises(UserError, match=match) as caught:
        moment_kl(codes)
    assert "\n" not in str(caught.value)
