"""Statistics of images by hand, and p-values of images among their own redrawn images."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ppvae import UserError, from_pyro_svi
from ppvae.diagnostics import image_statistics, predictive_checks, prior_predictive_checks

DIMS = ("image", "channel", "row", "column")
NAMES = ["intensity", "contrast", "dark", "bright", "roughness"]


def test_statistics_by_hand():
    """Pixels 0, 1 | 0.25, 0.75: steps 1 and 0.5 along rows, 0.25 and 0.25 along columns; range 0 to 1."""
    image = xr.DataArray(np.array([[[[0, 1], [0.25, 0.75]]]]), dims=DIMS)
    found = image_statistics(image)
    expected = {
        "intensity": 0.5,
        "contrast": np.std([0, 1, 0.25, 0.75]),
        "dark": 0.5,  # the quarters' ends belong to them
        "bright": 0.5,
        "roughness": 0.5,
    }
    assert {name: float(found[name].item()) for name in NAMES} == pytest.approx(expected)
    shifted = image_statistics(image, pixel_range=(-4.0, 1.0))
    assert float(shifted["dark"].item()) == 0
    assert float(shifted["bright"].item()) == 1


def test_statistics_take_any_leading_dims_in_any_order():
    images = xr.DataArray(np.random.default_rng(0).random((2, 3, 1, 4, 5)), dims=("draw", *DIMS))
    found = image_statistics(images.transpose("row", "image", "channel", "draw", "column"), (0, 1))
    for name in NAMES:
        assert set(found[name].dims) == {"draw", "image"}
        alone = image_statistics(images[1, 2], (0, 1))[name]
        assert float(found[name].sel(draw=1, image=2)) == pytest.approx(float(alone))
    one_row = image_statistics(images.isel(row=[0]))["roughness"]
    np.testing.assert_allclose(one_row, np.abs(images.isel(row=[0]).diff("column")).mean(("channel", "row", "column")))


def tree_of(observed: np.ndarray, predicted: np.ndarray, prior: np.ndarray | None = None) -> xr.DataTree:
    groups = {
        "observed_data": xr.Dataset({"x": (DIMS, observed)}),
        "posterior_predictive": xr.Dataset({"x": (("chain", "draw", *DIMS), predicted[None])}),
    }
    if prior is not None:
        groups["prior_predictive"] = xr.Dataset({"x": (("chain", "draw", *DIMS[1:]), prior[None])})
    return xr.DataTree.from_dict(groups)


def test_p_values_are_mid_ranks():
    """Constant images: intensity 0.5 among 0.1, 0.5, 0.5, 0.9, so one below and two equal, (1 + 1 + ½)/5."""
    flat = np.ones((1, 1, 2, 2))
    predicted = np.stack([value * flat for value in (0.1, 0.5, 0.5, 0.9)])
    found = predictive_checks(tree_of(np.concatenate([0.5 * flat, flat]), np.repeat(predicted, 2, 1)))
    assert found["p_value"].sel(statistic="intensity").values.tolist() == pytest.approx([0.5, 4.5 / 5])
    np.testing.assert_allclose(found["p_value"].sel(statistic="contrast"), 0.5)  # all equal
    np.testing.assert_allclose(found["replicated"].sel(statistic="intensity"), 0.5)
    np.testing.assert_allclose(found["observed"].sel(statistic="intensity"), [0.5, 1.0])


def test_extremes_of_unrelated_images_are_as_many_as_uniform_p_values_give():
    """Observed and redrawn images of one distribution: P(extreme) is 6/101, ranks 0, 1, 2 of 101 on each side."""
    rng = np.random.default_rng(5)
    found = predictive_checks(tree_of(rng.normal(size=(600, 1, 3, 3)), rng.normal(size=(100, 600, 1, 3, 3))))
    for name in ("intensity", "contrast", "roughness"):
        share = 6 / 101
        assert abs(float(found["extreme"].sel(statistic=name)) - share) < 5 * np.sqrt(share * (1 - share) / 600)


def test_extremes_and_ranges_are_those_of_the_data():
    """Of 200 draws: p of at most 0.025 on either side; dark and bright by the quarters of the data's own range."""
    rng = np.random.default_rng(1)
    observed = 3 * rng.normal(size=(130, 1, 3, 3)) + 5  # more images than are read at a time
    found = predictive_checks(tree_of(observed, 2 * rng.normal(size=(200, 130, 1, 3, 3)) + 5))
    p = found["p_value"]
    np.testing.assert_allclose(found["extreme"], ((p <= 0.025) | (p >= 0.975)).mean("image"), rtol=1e-12)
    wider = ((p <= 0.05) | (p >= 0.95)).mean("image")
    assert (found["extreme"] < wider).any()
    truth = image_statistics(xr.DataArray(observed, dims=DIMS), (observed.min(), observed.max()))
    for name in NAMES:
        np.testing.assert_allclose(found["observed"].sel(statistic=name), truth[name], rtol=1e-12)
    prior = rng.normal(size=(70, 1, 3, 3)) + 5
    drawn = image_statistics(xr.DataArray(prior, dims=("draw", *DIMS[1:])), (observed.min(), observed.max()))
    distances = prior_predictive_checks(tree_of(observed, observed[None], prior))["distance"]
    for name in NAMES:
        expected = stats.ks_2samp(truth[name], drawn[name]).statistic
        assert float(distances.sel(statistic=name)) == pytest.approx(expected, abs=1e-12)


def test_a_right_pair_has_few_extremes_and_a_wrong_model_many(linear):
    """At most 0.1 where all is right; images three times as bright are seen by contrast."""
    images = linear.draw_images(150, 1)
    shares = []
    for scale in (1, 3):
        tree = from_pyro_svi(
            linear.model, linear.guides["exact"], scale * images, 60, posterior_predictive=True, batch_size=10_000
        )
        found = predictive_checks(tree)
        assert found.sizes == {"statistic": 5, "image": 150}
        shares.append(float(found["extreme"].max()))
    assert shares[0] <= 0.1
    assert shares[1] > 0.25


def test_prior_predictive_is_the_two_sample_test():
    rng = np.random.default_rng(0)
    observed, prior = rng.normal(size=(40, 1, 3, 3)), 2 * rng.normal(size=(70, 1, 3, 3))
    found = prior_predictive_checks(tree_of(observed, observed[None], prior))
    means = observed.mean((1, 2, 3)), prior.mean((1, 2, 3))
    expected = stats.ks_2samp(*means, method="asymp")
    one = found.sel(statistic="intensity")
    assert (float(one["distance"]), float(one["p_value"])) == pytest.approx((expected.statistic, expected.pvalue))
    assert float(found["distance"].sel(statistic="contrast")) > 0.6


def test_the_site_is_x_or_the_only_one():
    rng = np.random.default_rng(0)
    tree = tree_of(rng.normal(size=(5, 1, 3, 3)), rng.normal(size=(9, 5, 1, 3, 3)), rng.normal(size=(7, 1, 3, 3)))
    named = xr.DataTree.from_dict({name: group.to_dataset().rename(x="obs") for name, group in tree.children.items()})
    more = xr.DataTree.from_dict(
        {name: group.to_dataset().assign(a=2 * group["x"]) for name, group in tree.children.items()}
    )
    for check in (predictive_checks, prior_predictive_checks):
        expected = check(tree, site="x")
        for given in (tree, named, more):
            xr.testing.assert_identical(check(given), expected)


def test_mistakes_are_named_in_one_line():
    flat = np.ones((2, 1, 2, 2))
    tree = tree_of(flat, flat[None])
    with pytest.raises(UserError, match=r"no posterior_predictive.*posterior_predictive=True"):
        predictive_checks(xr.DataTree.from_dict({"observed_data": tree["observed_data"].to_dataset()}))
    with pytest.raises(UserError, match="site='y': expected one of x"):
        predictive_checks(tree, site="y")
    with pytest.raises(UserError, match=r"no prior_predictive; make it with ppvae\.examine"):
        prior_predictive_checks(tree)
    two = tree["observed_data"].to_dataset().rename(x="a").assign(b=tree["observed_data"]["x"])
    both = {"observed_data": two, "posterior_predictive": two.expand_dims(draw=2)}
    with pytest.raises(UserError, match="site=None: expected one of a, b"):
        predictive_checks(xr.DataTree.from_dict(both))
    with pytest.raises(UserError, match=r"'a' has dims \('school', .*give from_pyro_svi the images"):
        predictive_checks(xr.DataTree.from_dict(both | {"observed_data": two.rename_dims(image="school")}), site="a")
    with pytest.raises(UserError, match="expected a DataArray with dims channel, row and column"):
        image_statistics(xr.DataArray(np.zeros(3), dims="image"))
