"""Intervals over images: the right width, the right place, and no image beside its own copy."""

import numpy as np
import pytest
import xarray as xr

from ppvae.errors import UserError
from ppvae.metrics import (
    adjusted_rand_index,
    entropy,
    knn_accuracy,
    mig_metric,
    score_interval,
)


def named(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("image", "latent"))


def mean(codes: xr.DataArray) -> xr.DataArray:
    return codes.mean()


@pytest.mark.parametrize("images", [400, 401])
def test_the_width_is_that_of_a_normal_mean(images):
    """2 · 1.96 σ / √N; the spread of 1 000 halves strays by 1 / √2 000, the quantiles by 4 %."""
    codes = named(np.random.default_rng(0).normal(size=(images, 1)))
    found = score_interval(mean, codes, resamples=1_000)
    error = float(codes.std(ddof=1)) / np.sqrt(images)
    assert float(found["standard_error"]) == pytest.approx(error, rel=4 / np.sqrt(2_000))
    assert float(found["upper"] - found["lower"]) == pytest.approx(2 * 1.96 * error, rel=0.16)
    assert float(found["upper"] + found["lower"]) / 2 == pytest.approx(float(found["score"]), abs=0.25 * error)
    wider = score_interval(mean, codes, resamples=200, level=0.99)
    assert wider["upper"] > found["upper"]


@pytest.mark.parametrize("images", [20, 21])
def test_the_interval_is_that_of_its_halves(images):
    """θ_N + quantiles of √(m / (N − m)) (θ_m − mean θ_m), m images of N: a tenth's change at N = 21 is seen."""
    sizes = []

    def sized(codes: xr.DataArray) -> xr.DataArray:
        sizes.append(codes.sizes["image"])
        return (codes**2).mean()  # whose mean over halves is not its value

    codes = named(np.random.default_rng(0).exponential(size=(images, 1)))
    found = score_interval(sized, codes, resamples=25, level=0.8)
    assert sizes == [images] + [images // 2] * 25
    halves = found["halves"].values
    deviations = np.sqrt((images // 2) / (images - images // 2)) * (halves - halves.mean())
    assert float(found["score"]) == float((codes**2).mean())
    assert float(found["standard_error"]) == pytest.approx(deviations.std(ddof=1), rel=1e-12)
    ends = float(found["lower"] - found["score"]), float(found["upper"] - found["score"])
    assert ends == pytest.approx(np.quantile(deviations, [0.1, 0.9]), rel=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """80 % of 100 means of skew numbers: three binomial standard errors are 0.12."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        found = score_interval(mean, named(rng.exponential(size=(60, 1))), resamples=40, level=0.8)
        hits += bool(found["lower"] <= 1 <= found["upper"])
    assert hits / 100 == pytest.approx(0.8, abs=0.12)


def test_halves_keep_an_image_from_its_copies():
    """Codes of noise, four labels: the nearest neighbour is right by chance. With replacement it is often the copy."""
    rng = np.random.default_rng(0)
    codes = named(rng.normal(size=(400, 4)))
    labels = xr.DataArray(rng.integers(0, 4, 400), dims="image")
    found = score_interval(knn_accuracy, codes, labels, resamples=20, neighbours=1)
    assert found["lower"] < 0.25 < found["upper"]
    again = rng.integers(0, 400, 400)
    assert knn_accuracy(codes.isel(image=again), labels.isel(image=again), neighbours=1) > 0.5


def test_metrics_of_codes_alone_of_factors_and_of_clusters():
    rng = np.random.default_rng(0)
    codes = named(rng.normal(size=(200, 3)) * [1, 2, 3])
    labels = xr.DataArray((codes[:, 2].values > 0).astype(int), dims="image")
    factors = xr.Dataset({"a": labels, "b": ("image", rng.integers(0, 3, 200))})
    for metric, given, options in (
        (entropy, (codes,), {}),
        (mig_metric, (codes, factors), {"preset": "quick"}),
        (adjusted_rand_index, (labels, factors["a"]), {}),
    ):
        found = score_interval(metric, *given, resamples=20, **options)
        alone = metric(*given, **options)
        assert found["score"] == (alone["score"] if isinstance(alone, xr.Dataset) else alone)
        assert found["lower"] <= found["score"] <= found["upper"]
        assert found["halves"].sizes == {"resample": 20}


def test_factors_are_looked_up_by_name_before_halves_are_drawn():
    rng = np.random.default_rng(0)
    labels = xr.DataArray(rng.integers(0, 3, 90), dims="image", coords={"image": np.arange(90)})
    found = score_interval(adjusted_rand_index, labels.isel(image=rng.permutation(90)), labels, resamples=20)
    assert (found["halves"] == 1).all()


def test_each_half_has_a_seed_of_its_own_and_one_seed_gives_one_interval():
    seen = []

    def metric(codes, seed):
        seen.append(seed)
        return codes.mean()

    codes = named(np.random.default_rng(0).normal(size=(30, 2)))
    first = score_interval(metric, codes, resamples=20, seed=5)
    assert seen == list(range(5, 26))
    assert first.identical(score_interval(metric, codes, resamples=20, seed=5))
    other = score_interval(metric, codes, resamples=20, seed=6)
    assert not np.isclose(first["halves"], other["halves"]).any()


def test_mistakes_end_in_one_line():
    codes = named(np.random.default_rng(0).normal(size=(30, 2)))
    cases = [
        (mean, codes, {"resamples": 5}, "resamples=5"),
        (mean, codes, {"level": 95}, "level=95"),
        (mean, codes[:3], {}, "codes came with 3 images"),
        (lambda codes: codes, codes, {}, "expected a scalar"),
        (lambda codes: codes.to_dataset(name="value"), codes, {}, "with scalar 'score'"),
        (mean, codes, {"factors": xr.DataArray(np.arange(7), dims="image")}, "factors came with 7 images"),
    ]
    for metric, given, options, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            score_interval(metric, given, **options)
        assert "\n" not in str(caught.value)
