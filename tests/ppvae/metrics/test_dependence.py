"""Dependence between latents: closed forms of Gaussians, and binned information."""

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score

from ppvae.errors import UserError
from ppvae.metrics import (
    factor_shares,
    gaussian_total_correlation,
    latent_information,
    mean_latent_information,
    wasserstein_correlation,
)


def with_covariance(covariance: np.ndarray, images: int = 300) -> xr.DataArray:
    """Codes whose empirical covariance is exactly this one."""
    values = np.random.default_rng(0).normal(size=(images, len(covariance)))
    values = values - values.mean(0)
    white = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values.T))).T
    return xr.DataArray(white @ np.linalg.cholesky(covariance).T + 5, dims=("image", "latent"))


def random_covariance(seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(5, 5))
    return root @ root.T + 0.1 * np.eye(5)


@pytest.mark.parametrize("correlation", [0.0, 0.3, -0.95])
def test_two_latents_have_closed_forms(correlation):
    """TC = −½ ln(1 − ρ²); tr √M = √(tr M + 2 √det M) for M = D^½ Σ D^½ with diagonal s_k⁴ and det s⁴s⁴(1 − ρ²)."""
    first, second = 2.0, 0.5
    codes = with_covariance(
        np.array([[first**2, correlation * first * second], [correlation * first * second, second**2]])
    )
    assert float(gaussian_total_correlation(codes)) == pytest.approx(-0.5 * np.log(1 - correlation**2), abs=1e-10)
    determinant = (first * second) ** 4 * (1 - correlation**2)
    expected = 2 * (first**2 + second**2) - 2 * np.sqrt(first**4 + second**4 + 2 * np.sqrt(determinant))
    assert float(wasserstein_correlation(codes)) == pytest.approx(expected, abs=1e-6)  # √ of rounding at ρ = 0
    share = expected / (first**2 + second**2)
    assert float(wasserstein_correlation(codes, normalised=True)) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_covariance(seed):
    covariance = random_covariance(seed)
    codes, diagonal = with_covariance(covariance), np.diag(np.diag(covariance))
    inner = np.linalg.solve(diagonal, covariance)
    kl = 0.5 * (np.trace(inner) - 5 + np.log(np.linalg.det(diagonal) / np.linalg.det(covariance)))
    assert float(gaussian_total_correlation(codes)) == pytest.approx(kl, rel=1e-8)
    distance = 2 * np.trace(covariance) - 2 * np.trace(sqrtm(diagonal @ covariance).real)
    assert float(wasserstein_correlation(codes)) == pytest.approx(distance, rel=1e-8)


def test_scale_and_order():
    codes = with_covariance(random_covariance(3))
    scaled = codes * xr.DataArray([1e-3, 1, -20, 4, 1e4], dims="latent")
    assert float(gaussian_total_correlation(scaled)) == pytest.approx(float(gaussian_total_correlation(codes)))
    for normalised in (False, True):
        shuffled = wasserstein_correlation(codes.isel(latent=[4, 2, 0, 1, 3]), normalised=normalised)
        assert float(shuffled) == pytest.approx(float(wasserstein_correlation(codes, normalised=normalised)))
    assert float(wasserstein_correlation(3 * codes)) == pytest.approx(9 * float(wasserstein_correlation(codes)))


def test_constant_latents_add_nothing_and_copies_are_infinite():
    codes = with_covariance(random_covariance(4))
    more = xr.concat([codes, 0 * codes], "latent")
    assert float(gaussian_total_correlation(more)) == pytest.approx(float(gaussian_total_correlation(codes)), rel=1e-12)
    assert float(wasserstein_correlation(more)) == pytest.approx(float(wasserstein_correlation(codes)), rel=1e-6)
    assert gaussian_total_correlation(0 * codes) == 0
    assert gaussian_total_correlation(xr.concat([codes, -2 * codes], "latent")) == np.inf


def test_noise_has_the_total_correlation_of_its_size():
    """K(K − 1) / 4N: half of χ² with K(K − 1)/2 degrees of freedom, over N; 40 draws of 500 images, 5 latents."""
    rng = np.random.default_rng(0)
    codes = xr.DataArray(rng.normal(size=(40, 500, 5)), dims=("seed", "image", "latent"))
    found = gaussian_total_correlation(codes)
    assert found.dims == ("seed",)
    error = np.sqrt(2 * 10) / (2 * 500) / np.sqrt(40)
    assert float(found.mean()) == pytest.approx(20 / (4 * 500), abs=4 * error + 20 / 500**2)


def test_a_normalised_distance_of_no_variance_ends_in_one_line():
    with pytest.raises(UserError, match="all latents have collapsed") as caught:
        wasserstein_correlation(0 * with_covariance(np.eye(2)), normalised=True)
    assert "\n" not in str(caught.value)


# Binned information


def test_information_between_latents_is_scikit_learns():
    codes = with_covariance(random_covariance(5), images=500)
    found = latent_information(codes, bins=7)
    bins = [np.digitize(column, np.histogram(column, 7)[1][:-1]) for column in codes.values.T]
    expected = [[mutual_info_score(one, other) for one in bins] for other in bins]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    mean = (np.sum(expected) - np.trace(expected)) / 20
    assert float(mean_latent_information(codes, bins=7)) == pytest.approx(mean, abs=1e-12)
    moved = codes * xr.DataArray([-3.3, 1, 7, -1e-4, 2], dims="latent") - 4
    np.testing.assert_allclose(latent_information(moved, bins=7), found, atol=1e-12)


def test_independent_uniform_latents_have_the_plug_in_value():
    """(bins − 1)² / 2N; of 15 pairs, each with standard deviation √(2 (bins − 1)²) / 2N."""
    codes = xr.DataArray(np.random.default_rng(0).uniform(size=(10_000, 6)), dims=("image", "latent"))
    expected = 19**2 / 20_000
    error = np.sqrt(2) * 19 / 20_000 / np.sqrt(15)
    assert float(mean_latent_information(codes)) == pytest.approx(expected, abs=4 * error + 0.03 * expected)


def test_copies_share_their_entropy_and_constants_nothing():
    column = np.arange(100.0) % 4
    codes = xr.DataArray(np.stack([column, -column, 0 * column], 1), dims=("image", "latent"))
    found = latent_information(codes)
    np.testing.assert_allclose(found, np.log(4) * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]]), atol=1e-12)


def test_mistakes_end_in_one_line():
    codes = with_covariance(np.eye(3))
    cases = [
        (codes, {"bins": 1}, "bins=1"),
        (codes.isel(latent=[0]), {}, "2 latents or more"),
        (codes.where(codes > 5), {}, "not finite"),
        (codes.rename(latent="k"), {}, r"expected dims \(image, latent\)"),
    ]
    for wrong, options, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            mean_latent_information(wrong, **options)
        assert "\n" not in str(caught.value)


def test_factor_shares_of_codes_that_tell_all_half_and_nothing():
    """A latent that equals a factor of four levels tells all of it, its two halves half of its entropy, a constant
    nothing; a factor that does not change has no share."""
    levels = np.tile(np.arange(4), 50)
    codes = xr.DataArray(np.stack([-levels, levels // 2, np.zeros(200)], -1), dims=("image", "latent"))
    factors = xr.Dataset({"shape": ("image", levels), "one": ("image", np.zeros(200, int))})
    shares = factor_shares(codes, factors)
    np.testing.assert_allclose(shares.sel(factor="shape"), [1.0, 0.5, 0.0], atol=1e-12)
    assert shares.sel(factor="one").isnull().all()


def test_factor_shares_take_one_factor_one_latent_and_real_values():
    """Ten bins of as many images each, of which twenty bins of a straight line's code tell each: in full, but for the
    two to four of 1 000 images at the edges of bins, 0.03 nats of ln 10 each of the nine edges at most."""
    values = (np.arange(1000) + 0.5) / 1000
    codes = xr.DataArray(3 - 2 * values[:, None], dims=("image", "latent"))
    assert float(factor_shares(codes, xr.Dataset({"angle": ("image", values)})).item()) == pytest.approx(1, abs=0.1)
    constant = xr.Dataset({"angle": ("image", np.ones(1000))})
    assert factor_shares(codes, constant).isnull().all()


def test_factor_shares_want_the_factors_of_these_images():
    codes = xr.DataArray(np.zeros((5, 2)), dims=("image", "latent"))
    with pytest.raises(UserError, match="factors came with 4 images, codes with 5"):
        factor_shares(codes, xr.Dataset({"shape": ("image", np.arange(4))}))
