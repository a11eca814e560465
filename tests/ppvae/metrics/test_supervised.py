"""What every supervised metric promises, and what each does on codes with a known answer."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import xlogy
from scipy.stats import norm
from sklearn.metrics import mutual_info_score, roc_auc_score

from ppvae.errors import UserError
from ppvae.metrics import DISENTANGLEMENT_METRICS, dci_metric, explicitness, factor_vae_metric, mig_metric, sap_metric
from ppvae.metrics.modularity_explicitness import _areas
from ppvae.metrics.presets import SPLIT_PRESETS
from ppvae.metrics.splits import split_images

CONTRACT = pytest.mark.parametrize("name", DISENTANGLEMENT_METRICS)
NEED_TWO_LATENTS = ("mig", "modularity", "dci", "sap")
# a permutation of latents permutes sums and nothing else here; others break ties or stop a solver by it
EXACT = ("factor_vae", "mig", "modularity", "sap")


def small(images: int = 400, seed: int = 0) -> tuple[xr.DataArray, xr.Dataset]:
    """Three factors of four levels, a latent with a little noise for each, and two latents of noise."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 4, (images, 3))
    factors = xr.Dataset(
        {name: ("image", column) for name, column in zip(("shape", "x", "y"), levels.T, strict=True)},
        coords={"image": np.arange(images)},
    )
    values = np.concatenate([levels + 0.05 * rng.normal(size=levels.shape), rng.normal(size=(images, 2))], 1)
    codes = xr.DataArray(values, dims=("image", "latent"), coords={"image": np.arange(images), "latent": list("abcde")})
    return codes, factors


def measure(name: str, codes, factors, **options) -> xr.Dataset:
    return DISENTANGLEMENT_METRICS[name](codes, factors, **{"preset": "quick", **options})


@CONTRACT
def test_a_score_says_what_it_is_and_how_it_came(name):
    attrs = measure(name, *small())["score"].attrs
    assert {"long_name", "units", "preset", "seed"} <= set(attrs)
    assert (attrs["preset"], attrs["seed"]) == ("quick", 0)
    assert all(isinstance(value, str | int | float) for value in attrs.values())  # what Zarr and NetCDF take
    assert ("classifier" in attrs) == (name in ("beta_vae", "explicitness", "dci", "sap"))


@CONTRACT
def test_parts_are_named_by_factor_and_latent(name):
    codes, factors = small()
    found = measure(name, codes, factors)
    assert found["score"].dims == ()
    parts = [part for part in found.data_vars.values() if part.dims]
    assert parts
    assert all("long_name" in part.attrs for part in parts)
    if "factor" in found.dims:
        assert found["factor"].values.tolist() == list(factors)
    if "latent" in found.dims:
        assert found["latent"].values.tolist() == list("abcde")


@CONTRACT
def test_the_docstring_says_what_the_metric_cannot_see(name):
    text = " ".join(DISENTANGLEMENT_METRICS[name].__doc__.split())
    assert "cannot see" in text
    assert "Presets: ``locatello``" in text
    assert "Source:" in text


@CONTRACT
def test_one_seed_gives_one_result_and_no_global_state_moves(name):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is looked at
    codes, factors = small()
    given = codes.copy(deep=True), factors.copy(deep=True)
    xr.testing.assert_identical(measure(name, codes, factors, seed=3), measure(name, codes, factors, seed=3))
    assert codes.identical(given[0])
    assert factors.identical(given[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@CONTRACT
def test_another_seed_draws_other_images(name):
    """Of 2 500 images, of which every preset takes 2 000; noisy enough that no score is full."""
    codes, factors = small(2_500)
    noisy = codes * 0.2 + np.random.default_rng(1).normal(size=codes.shape)
    found = [measure(name, noisy, factors, seed=seed) for seed in range(3)]
    assert len({float(one["score"]) for one in found}) == 3
    if name == "dci":  # whose trees have a seed too: chance is that of the images alone
        assert len({one["mean_informativeness"].attrs["chance"] for one in found}) == 3


@CONTRACT
@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_latents_does_not_matter(name, seed):
    codes, factors = small(seed=seed)
    one, other = (float(measure(name, c, factors)["score"]) for c in (codes, codes.isel(latent=[3, 1, 4, 0, 2])))
    assert one == pytest.approx(other, abs=1e-12 if name in EXACT else 0.02)


@CONTRACT
def test_a_latents_sign_does_not_matter(name):
    codes, factors = small()
    signs = xr.DataArray([-1, 1, -1, -1, 1], dims="latent")
    one, other = (float(measure(name, c, factors)["score"]) for c in (codes, codes * signs))
    assert one == pytest.approx(other, abs=1e-12 if name in ("mig", "modularity", "factor_vae") else 0.02)


@CONTRACT
def test_levels_are_names_only(name):
    """Any other integers in the same order, and images in any order of the factors' table, mean the same."""
    codes, factors = small()
    renamed = (factors * 7 - 30).isel(image=np.random.default_rng(0).permutation(400))
    assert measure(name, codes, renamed)["score"] == measure(name, codes, factors)["score"]


@CONTRACT
def test_collapsed_latents_divide_by_nothing(name):
    codes, factors = small()
    for kept in (["a", "b", "c"], ["a"], []):
        some = codes.where(codes["latent"].isin(kept), 0.5)
        found = measure(name, some, factors)
        assert all(bool(np.isfinite(part).all()) for part in found.data_vars.values())
        assert 0 <= float(found["score"]) <= 1


@pytest.mark.parametrize(
    ("name", "part"), [("sap", "predictability"), ("dci", "informativeness"), ("explicitness", "area")]
)
def test_what_is_learned_of_some_images_is_judged_by_others(name, part):
    """The codes of the images to evaluate have the other sign: all that was learned is wrong, and nothing else is."""
    levels = np.random.default_rng(1).integers(0, 2, 300)
    factors = xr.Dataset(dict.fromkeys("ab", ("image", levels)))
    codes = np.stack([4.0 * levels - 2, 2 - 4.0 * levels], 1)
    codes[split_images({"a": levels}, SPLIT_PRESETS["quick"], np.random.default_rng(0)).evaluate] *= -1
    assert (measure(name, xr.DataArray(codes, dims=("image", "latent")), factors)[part] == 0).all()


@pytest.mark.parametrize("name", ["beta_vae", "factor_vae"])
def test_fresh_draws_score_noise_at_chance(name):
    """100 latents of noise fit the 1 000 points, or ten votes each, that they were trained on to 0.4 and more."""
    rng = np.random.default_rng(0)
    factors = xr.Dataset({key: ("image", rng.integers(0, 2, 4_000)) for key in "abcd"})
    found = measure(name, xr.DataArray(rng.normal(size=(4_000, 100)), dims=("image", "latent")), factors)
    assert float(found["score"]) < 0.33  # binomial standard error of a quarter: 0.014
    np.testing.assert_allclose(found["accuracy"].mean(), found["score"], atol=0.02)  # levels are evenly drawn
    standard_error = np.sqrt(found["score"] * (1 - found["score"]) / 1_000)
    assert found["score"].attrs["standard_error"] == pytest.approx(float(standard_error), rel=1e-12)


@pytest.mark.parametrize("name", ["factor_vae", "mig", "modularity", "dci", "sap"])
def test_all_latents_collapsed_score_nought(name):
    codes, factors = small()
    assert measure(name, 0 * codes, factors)["score"] == 0


@CONTRACT
def test_mistakes_end_in_one_line(name):
    codes, factors = small()
    cases = [
        (codes.rename(latent="z"), factors, {}, "take z_mean from sample_stats"),
        (codes.expand_dims(draw=2), factors, {}, "take z_mean from sample_stats"),
        (codes.values, factors, {}, "codes came as ndarray"),
        (codes.astype(str), factors, {}, "expected real numbers"),
        (codes.where(codes > 0), factors, {}, "not finite"),
        (codes, factors[["x"]], {}, "two factors or more"),
        (codes, factors["x"], {}, "factors came as DataArray"),
        (codes, factors.assign(hue=factors["x"] * 0), {}, "factor 'hue' has one level"),
        (codes, factors.assign(hue=factors["x"] * 1j), {}, "factor 'hue' came as complex128"),
        (codes, factors.drop_vars("image").isel(image=slice(9)), {}, "factors came with 9 images, codes with 400"),
        (codes, factors.isel(image=slice(9)), {}, "name images that factors lack"),
        (codes.isel(image=[0]), factors, {}, "codes came with 1 images"),
        (codes.isel(latent=[]), factors, {}, "and 0 latents"),
        (codes, factors, {"preset": "higgins"}, "choose one of locatello, quick"),
    ]
    if name in NEED_TWO_LATENTS:
        cases.append((codes.isel(latent=[0]), factors, {}, "expected 2 images and 2 latents or more"))
    for wrong, levels, options, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            measure(name, wrong, levels, **options)
        assert "\n" not in str(caught.value)


# MIG


def test_information_is_scikit_learns_of_the_same_bins():
    codes, factors = small()
    table = mig_metric(codes, factors, preset="quick")["mutual_information"]
    for latent in codes["latent"].values:
        values = codes.sel(latent=latent).values
        bins = np.digitize(values, np.histogram(values, 20)[1][:-1])
        for factor in factors:
            expected = mutual_info_score(factors[factor], bins)
            assert float(table.sel(factor=factor, latent=latent)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["mig", "modularity"])
def test_bins_follow_each_latents_scale_and_shift(name):
    codes, factors = small()
    moved = codes * xr.DataArray([3.7, -0.01, 40, 1, -2], dims="latent") + xr.DataArray(range(5), dims="latent")
    xr.testing.assert_allclose(measure(name, codes, factors), measure(name, moved, factors), rtol=0, atol=1e-12)


def test_two_latents_alike_leave_no_gap():
    codes, factors = small()
    twice = xr.concat([codes, codes.assign_coords(latent=list("fghij"))], "latent")
    assert mig_metric(twice, factors)["score"] == 0
    assert sap_metric(twice, factors, preset="quick")["score"] == 0


def test_more_images_than_the_preset_takes_are_drawn_by_seed():
    codes, factors = small(3_000)
    scores = {float(mig_metric(codes, factors, preset="quick", seed=seed)["score"]) for seed in range(3)}
    assert len(scores) == 3
    assert mig_metric(codes, factors, preset="quick")["score"].attrs["used_images"] == 2_000


# FactorVAE


def test_narrow_latents_stand_outside():
    codes, factors = small()
    standard = codes / codes.std("image", ddof=1)
    assert factor_vae_metric(0.05003 * standard, factors, preset="quick")["active"].all()  # biased it is 0.04997
    found = factor_vae_metric(standard * xr.DataArray([1, 1, 1, 0.04997, 0], dims="latent"), factors, preset="quick")
    assert found["active"].values.tolist() == [True] * 3 + [False] * 2
    assert found["score"] == 1
    np.testing.assert_array_equal(found["votes"] > 0, np.eye(3, 5, dtype=bool))
    assert int(found["votes"].sum()) == 1_000


# Explicitness


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_explicitness_of_two_normal_classes(distance):
    """N(0, 1) against N(d, 1): area Φ(d / √2). Its standard error with 1 000 images is at most 0.018."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 2, (2_000, 2))
    codes = xr.DataArray(distance * levels + rng.normal(size=levels.shape), dims=("image", "latent"))
    factors = xr.Dataset({"a": ("image", levels[:, 0]), "b": ("image", levels[:, 1])})
    found = explicitness(codes, factors, preset="quick")
    np.testing.assert_allclose(found["area"], norm.cdf(distance / np.sqrt(2)), atol=4 * 0.018)


def test_areas_are_scikit_learns_ties_included():
    rng = np.random.default_rng(0)
    scores, hits = rng.integers(0, 5, (50, 5)), rng.integers(0, 2, (50, 5)).astype(bool)
    hits[:, 3], hits[:, 4] = False, True  # levels that are nowhere or everywhere are left out
    expected = [roc_auc_score(hits[:, level], scores[:, level]) for level in range(3)]
    np.testing.assert_allclose(_areas(scores, hits), expected, rtol=1e-12)


def test_explicitness_of_noise_is_a_half(drawn):
    areas = [
        float(explicitness(w.noise, w.factors, preset="quick")["score"]) for w in (drawn(2_000, s) for s in (0, 1))
    ]
    np.testing.assert_allclose(areas, 0.5, atol=0.03)  # 113 levels of 9 to 330 images: standard error 0.006


# DCI


def test_boosted_trees_find_one_latent_a_factor():
    codes, factors = small(240)
    found = dci_metric(codes, factors, preset="locatello")
    assert float(found["score"]) > 0.98
    assert float(found["mean_completeness"]) > 0.98
    assert float(found["mean_informativeness"]) > 0.95
    assert found["score"].attrs["train_images"] == 160
    np.testing.assert_allclose(found["importance"].sum("latent"), 1)


def test_two_factors_on_two_latents_at_45_degrees(drawn):
    """Each of both latents serves x and y alike: 1 − ln 2 / ln 5. Importances stray by a tenth or so."""
    world = drawn(2_000, 0)
    found = dci_metric(world.diagonal, world.factors, preset="quick")
    half = 1 - np.log(2) / np.log(5)
    np.testing.assert_allclose(found["disentanglement"][3:], half, atol=0.1)
    np.testing.assert_allclose(found["completeness"][3:], half, atol=0.1)
    assert (found["completeness"][:3] > 0.9).all()


def test_noise_serves_all_factors_and_predicts_none(drawn):
    world = drawn(2_000, 0)
    found = dci_metric(world.noise, world.factors, preset="quick")
    assert float(found["score"]) < 0.02
    chance = found["mean_informativeness"].attrs["chance"]
    assert chance == pytest.approx(np.mean([1 / 3, 1 / 6, 1 / 40, 1 / 32, 1 / 32]), abs=0.02)
    assert float(found["mean_informativeness"]) == pytest.approx(chance, abs=0.03)


def test_trees_see_the_order_of_codes_only():
    codes, factors = small()
    one, other = (dci_metric(c, factors, preset="quick") for c in (codes, np.exp(codes)))
    np.testing.assert_allclose(one["importance"], other["importance"], atol=1e-6)


def test_shares_average_to_the_scores():
    """By hand, of three factors mixed in five latents: each counts by its share of all importance."""
    codes, factors = small()
    rng = np.random.default_rng(0)
    mixed = codes.copy(data=codes.values @ rng.normal(size=(5, 5)) * [1, 1, 1, 1, 0])  # the last says nothing
    found = dci_metric(mixed, factors, preset="quick")
    importance = found["importance"].values
    total = importance.sum()

    def by_hand(rows: np.ndarray) -> float:
        kept = rows[rows.sum(1) > 0]
        shares = kept / kept.sum(1, keepdims=True)
        concentration = 1 + xlogy(shares, shares).sum(1) / np.log(rows.shape[1])
        assert (concentration < 0.9).any()
        return float(kept.sum(1) @ concentration / total)

    assert float(found["score"]) == pytest.approx(by_hand(importance.T), abs=1e-12)
    assert float(found["mean_completeness"]) == pytest.approx(by_hand(importance), abs=1e-12)
    assert float(found["disentanglement"][-1]) == pytest.approx(0, abs=1e-12)


def test_chance_is_the_share_of_the_level_that_is_commonest_among_the_images_to_train_on():
    """It is rare among those to evaluate, where its share counts; the other factor's levels are even."""
    rng = np.random.default_rng(0)
    parts = split_images({"a": np.arange(300)}, SPLIT_PRESETS["quick"], np.random.default_rng(0))
    levels = rng.integers(0, 2, (2, 300))
    levels[0, parts.train] = rng.choice(3, 150, p=[0.2, 0.1, 0.7])
    levels[0, parts.evaluate] = rng.choice(3, 150, p=[0.2, 0.7, 0.1])
    factors = xr.Dataset({"a": ("image", levels[0]), "b": ("image", levels[1])})
    codes = xr.DataArray(rng.normal(size=(300, 2)), dims=("image", "latent"))
    found = dci_metric(codes, factors, preset="quick")["mean_informativeness"]
    even = np.bincount(levels[1, parts.train]).argmax()
    shares = (levels[0, parts.evaluate] == 2).mean(), (levels[1, parts.evaluate] == even).mean()
    assert found.attrs["chance"] == pytest.approx(np.mean(shares), abs=1e-12)


# SAP


def test_continuous_factors_count_by_squared_correlation(drawn):
    """x and y at 45° are half explained by either latent; 1 000 images: standard error of ρ² near 0.03."""
    world = drawn(2_000, 0)
    found = sap_metric(world.diagonal, world.factors, continuous=list(world.factors), preset="quick")
    np.testing.assert_allclose(found["gap"][:3], 1, atol=0.03)
    np.testing.assert_allclose(found["predictability"][3:, 3:], 0.5, atol=0.1)
    assert found["score"].attrs["continuous"] == "shape, scale, orientation, x, y"
    scaled = sap_metric(world.diagonal * 100 + 3, world.factors, continuous=list(world.factors), preset="quick")
    np.testing.assert_allclose(found["predictability"], scaled["predictability"], rtol=1e-9)


def test_continuous_factors_are_those_of_the_images_to_train_on():
    """Codes that say nothing of the others."""
    codes, factors = small()
    told = codes.values * 0 + np.random.default_rng(0).normal(size=codes.shape)
    train = split_images({"x": np.arange(400)}, SPLIT_PRESETS["quick"], np.random.default_rng(0)).train
    told[train, 0] = factors["x"].values[train]
    found = sap_metric(codes.copy(data=told), factors, continuous=["x"], preset="quick")["predictability"]
    assert float(found.sel(factor="x", latent="a")) == pytest.approx(1, abs=1e-12)


def test_continuous_factors_count_by_their_values():
    codes, factors = small()
    factors["x"].attrs["values"] = [0.0, 1.0, 10.0, 100.0]
    told = codes.copy()
    told[:, 1] = np.array([0.0, 1.0, 10.0, 100.0])[factors["x"].values]
    by_value = sap_metric(told, factors, continuous=["x"], preset="quick")["predictability"].sel(factor="x", latent="b")
    assert float(by_value) == pytest.approx(1, abs=1e-12)
    del factors["x"].attrs["values"]
    by_index = sap_metric(told, factors, continuous=["x"], preset="quick")["predictability"].sel(factor="x", latent="b")
    assert float(by_index) < 0.8


def test_a_mistaken_continuous_factor_ends_in_one_line():
    codes, factors = small()
    factors["shape"].attrs["values"] = ["disc", "square", "star", "cross"]
    for name, message in (("hue", "expected some of shape, x, y"), ("shape", "expected numbers")):
        with pytest.raises(UserError, match=message) as caught:
            sap_metric(codes, factors, continuous=[name])
        assert "\n" not in str(caught.value)


# Continuous factors


def measured(images: int = 400, seed: int = 0) -> tuple[xr.DataArray, xr.Dataset]:
    """Two continuous factors, skewed and not, a latent that is each one's own, and one of noise."""
    rng = np.random.default_rng(seed)
    age, weight, noise = rng.exponential(size=images), rng.random(images), rng.normal(size=images)
    codes = xr.DataArray(np.stack([age, weight, noise], 1), dims=("image", "latent"))
    return codes, xr.Dataset({"age": ("image", age), "weight": ("image", weight)})


def tenths(factors: xr.Dataset) -> xr.Dataset:
    """Ten levels of as many images, by rank."""
    ranks = {name: values.values.argsort().argsort() for name, values in factors.items()}
    return xr.Dataset({name: ("image", 10 * rank // len(rank)) for name, rank in ranks.items()})


@pytest.mark.parametrize("name", [name for name in DISENTANGLEMENT_METRICS if name != "sap"])
def test_continuous_factors_are_ten_levels_of_as_many_images_and_said_to_be(name):
    codes, factors = measured()
    found, levels = measure(name, codes, factors), measure(name, codes, tenths(factors))
    assert found["score"].item() == levels["score"].item()
    assert found["score"].attrs["binned"] == "age, weight: 10 levels of as many images each"
    assert "binned" not in levels["score"].attrs


def test_sap_takes_continuous_factors_as_they_are():
    codes, factors = measured()
    found = measure("sap", codes, factors)
    np.testing.assert_allclose(found["predictability"][[0, 1], [0, 1]].values.diagonal(), 1)
    assert found["score"].attrs["continuous"] == "age, weight"
    assert "binned" not in found["score"].attrs


def test_equal_numbers_share_a_bin():
    codes, factors = measured()
    many = factors.assign(age=factors["age"].where(factors["age"] > 1, 1.0))
    assert mig_metric(codes, many, preset="quick")["entropy"][0] < np.log(5)
    with pytest.raises(UserError, match="'age' has one level"):
        mig_metric(codes, factors.assign(age=factors["age"] * 0 + 0.5))
    with pytest.raises(UserError, match="'age' holds values that are not finite"):
        mig_metric(codes, factors.assign(age=factors["age"].where(factors["age"] > 1)))
