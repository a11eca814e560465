"""The rules for informative latents, on posteriors whose statistics are known."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.special import digamma, expit, gammaln

from ppvae.diagnostics import count_informative, informative_latents
from ppvae.errors import UserError

IMAGES = 40
SIGNS = np.tile([1.0, -1.0], IMAGES // 2)[:, None]
VARIANCE_OF_SIGNS = IMAGES / (IMAGES - 1)
PRIOR_VARIANCE = 3.62 / 7.25


def tree_of(mean, variance, kl, p=None, prior_variance: float | None = 1.0) -> xr.DataTree:
    """A posterior tree whose posterior means are ±mean, and whose other statistics average to the given ones."""
    wobble = 1 + 0.5 * SIGNS
    columns = {"z_mean": SIGNS * mean, "z_variance": wobble * variance, "kl": wobble * kl}
    if p is not None:
        columns["p"] = np.ones_like(SIGNS) * p
    stats = xr.Dataset({name: (("image", "latent"), values.astype(np.float32)) for name, values in columns.items()})
    if prior_variance is not None:
        stats["z_variance"].attrs["prior_variance"] = prior_variance
    return xr.DataTree.from_dict({"/sample_stats": stats})


def gaussian_tree() -> xr.DataTree:
    """Three Gaussian latents: a coding one, a weak one, a collapsed one; kl in closed form."""
    mean, variance = np.array([0.99, 0.3, 0.0]), np.array([0.02, 0.9, 1.0])
    return tree_of(mean, variance, 0.5 * (mean**2 + variance - 1 - np.log(variance)))


def gamma_path(p: float, sharpness: float = 30.0) -> tuple[float, float]:
    """Shape and rate of the NGVAE posterior of the precision (its Eq. 5)."""
    weight = expit(sharpness * (p - 0.5))
    return 3.65 + (902 - 3.65) * weight, 0.24 + (810.9 - 0.24) * weight


def gamma_kl(p: float) -> float:
    """KL of Gamma(shape, rate) at p from the prior Gamma(8.25, 3.62), nats (NGVAE, Eq. 9, at mean 0)."""
    shape, rate = gamma_path(p)
    return float(
        8.25 * np.log(rate / 3.62)
        - gammaln(shape)
        + gammaln(8.25)
        + (shape - 8.25) * digamma(shape)
        - (rate - 3.62) * shape / rate
    )


def normal_gamma_tree(p) -> xr.DataTree:
    pairs = [gamma_path(value) for value in p]
    variance = np.array([rate / (shape - 1) for shape, rate in pairs])
    kl = np.array([gamma_kl(value) for value in p])
    return tree_of(np.zeros(len(pairs)), variance, kl, np.array(p), PRIOR_VARIANCE)


def test_rules_and_numbers_of_a_gaussian_posterior():
    found = informative_latents(gaussian_tree())
    assert found["by_variance"].values.tolist() == [True, False, False]
    assert found["by_kl"].values.tolist() == [True, False, False]
    assert found["active_units"].values.tolist() == [True, True, False]
    np.testing.assert_allclose(found["variance"], [0.02, 0.9, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found["activity"], np.array([0.99, 0.3, 0.0]) ** 2 * VARIANCE_OF_SIGNS, rtol=1e-6)
    np.testing.assert_allclose(
        found["signal_to_noise"], np.array([0.9801 / 0.02, 0.1, 0.0]) * VARIANCE_OF_SIGNS, rtol=1e-6
    )
    assert "by_probability" not in found
    assert "by_ablation" not in found


def test_every_variable_says_what_it_is():
    ablation = xr.Dataset({"worsening": ("latent", [90.0, 1.0, 0.0]), "relative": ("latent", [0.9, 0.02, 0.0])})
    tree = gaussian_tree()
    tree["sample_stats"] = tree["sample_stats"].to_dataset().assign(p=tree["sample_stats"]["kl"] * 0 + 0.5)
    found = informative_latents(tree, ablation)
    for variable in found.data_vars.values():
        assert variable.dims == ("latent",)
        assert {"long_name", "units"} <= set(variable.attrs)
        assert ("rule" in variable.attrs) == (variable.dtype == bool)
    assert found["by_variance"].attrs["rule"] == "variance_ratio < 0.8"


def test_variance_is_judged_relative_to_the_prior():
    """A collapsed Normal-Gamma latent has variance 0.52: uninformative there, informative under a unit prior."""
    tree = normal_gamma_tree([0.0, 0.5 - 5.69 / 30, 1.0])
    found = informative_latents(tree)
    np.testing.assert_allclose(found["variance"], [0.0906, 0.523, 0.900], rtol=2e-3)
    assert found["by_variance"].values.tolist() == [True, False, False]
    assert informative_latents(tree, prior_variance=1.0)["by_variance"].values.tolist() == [True, True, False]
    assert found.attrs["prior_variance"] == PRIOR_VARIANCE


def test_each_latent_has_its_own_prior_variance():
    """As under learned precisions: a latent as wide as its prior is idle, whatever the others' are."""
    tree = tree_of(np.zeros(3), np.array([0.01, 1.0, 4.0]), np.zeros(3))
    tree["sample_stats"]["z_variance"].attrs["prior_variance"] = [0.01, 4.0, 4.0]
    found = informative_latents(tree)
    assert found["by_variance"].values.tolist() == [False, True, False]
    assert found.attrs["prior_variance"] == [0.01, 4.0, 4.0]
    assert informative_latents(tree, prior_variance=[4.0, 4.0, 4.0]).attrs["prior_variance"] == 4.0
    for wrong in ([1.0, 1.0], [1.0, 0.0, 1.0]):
        with pytest.raises(UserError, match="one for each of 3 latents"):
            informative_latents(tree, prior_variance=wrong)


def test_one_kl_as_a_whole_leaves_its_rule_out():
    """As of a guide whose KL does not split by latent; the other rules stand."""
    tree = gaussian_tree()
    whole = tree["sample_stats"].to_dataset().assign(kl=tree["sample_stats"]["kl"].sum("latent"))
    found, split = informative_latents(xr.DataTree.from_dict({"/sample_stats": whole})), informative_latents(tree)
    assert set(split) - set(found) == {"kl", "by_kl"}
    xr.testing.assert_identical(found, split.drop_vars(["kl", "by_kl"]))


def test_the_only_site_is_judged_whatever_it_and_its_dim_are_called():
    stats = gaussian_tree()["sample_stats"].to_dataset().assign_coords(latent=[4, 5, 6])
    named = stats.rename(z_mean="code_mean", z_variance="code_variance", latent="code_dim_0")
    expected = informative_latents(xr.DataTree.from_dict({"/sample_stats": stats}))
    renamed = informative_latents(xr.DataTree.from_dict({"/sample_stats": named}))
    assert (renamed.attrs["site"], expected.attrs["site"]) == ("code", "z")
    xr.testing.assert_identical(renamed.assign_attrs(site="z"), expected)
    both = stats.assign(a_mean=2 * stats["z_mean"], a_variance=stats["z_variance"])
    z = informative_latents(xr.DataTree.from_dict({"/sample_stats": both}), site="z")
    xr.testing.assert_identical(z, expected)
    other = informative_latents(xr.DataTree.from_dict({"/sample_stats": both}), site="a")
    np.testing.assert_allclose(other["activity"], 4 * expected["activity"])


def test_the_normal_gamma_path_meets_the_prior_below_one_half():
    """Why the rules disagree: least KL 0.0134 nats at p = 0.31, and 3.56 nats at p = 1."""
    lowest = minimize_scalar(gamma_kl, bounds=(0.2, 0.5), method="bounded", options={"xatol": 1e-6})
    assert lowest.fun == pytest.approx(0.0134, abs=5e-5)
    assert lowest.x == pytest.approx(0.31, abs=0.002)
    found = informative_latents(normal_gamma_tree([0.0, lowest.x, 1.0]))
    np.testing.assert_allclose(found["kl"], [31.38, 0.0134, 3.556], rtol=2e-3)
    assert found["by_probability"].values.tolist() == [True, True, False]
    assert found["by_kl"].values.tolist() == [True, False, True]
    assert found["by_variance"].values.tolist() == [True, False, False]


def test_rules_begin_beyond_their_numbers():
    """Each rule's number a thousandth below and above its threshold, and p, ratio and relative error exactly there."""
    near = np.array([0.999, 1.001])
    activity = 0.01 * near / VARIANCE_OF_SIGNS
    tree = tree_of(np.sqrt(activity), 0.8 * near, 0.1 * near, 0.5 * near)
    numbers = {"worsening": ("latent", [1.0, 1.0]), "relative": ("latent", 0.01 * near)}
    found = informative_latents(tree, xr.Dataset(numbers))
    for rule in ("active_units", "by_kl", "by_ablation"):
        assert found[rule].values.tolist() == [False, True], rule
    for rule in ("by_variance", "by_probability"):
        assert found[rule].values.tolist() == [True, False], rule
    there = informative_latents(
        tree_of(np.zeros(1), np.full(1, 0.5), np.zeros(1), np.full(1, 0.25)),
        xr.Dataset({"worsening": ("latent", [1.0]), "relative": ("latent", [0.125])}),
        max_probability=0.25,
        max_variance_ratio=0.5,
        min_relative=0.125,
        min_kl=0.0,
        min_activity=0.0,
    )
    assert not any(bool(there[rule].any()) for rule in there if there[rule].dtype == bool)


def test_ablation_is_matched_by_latent():
    ablation = xr.Dataset(
        {"worsening": ("latent", [0.0, 80.0, 3.0]), "relative": ("latent", [0.0, 0.8, 0.005])},
        coords={"latent": [2, 0, 1]},
    )
    tree = xr.DataTree.from_dict(
        {"/sample_stats": gaussian_tree()["sample_stats"].to_dataset().assign_coords(latent=[0, 1, 2])}
    )
    found = informative_latents(tree, ablation)
    np.testing.assert_array_equal(found["worsening"], [80.0, 3.0, 0.0])
    assert found["by_ablation"].values.tolist() == [True, False, False]
    assert informative_latents(tree, ablation, min_relative=0.001)["by_ablation"].sum() == 2


def test_the_fewest_latents_make_up_a_share_of_the_relevance():
    """90 + 9 of 100 are 99 %, exactly; beyond it, or by other shares, others count; of no relevance at all none."""
    worth = xr.Dataset({"relevance": ("latent", [9.0, 1.0, 90.0])}, coords={"latent": [1, 2, 0]})
    tree = gaussian_tree()
    tree["sample_stats"] = tree["sample_stats"].to_dataset().assign_coords(latent=[0, 1, 2])
    found = informative_latents(tree, relevance=worth)
    np.testing.assert_array_equal(found["relevance"], [90.0, 9.0, 1.0])
    assert found["by_relevance"].values.tolist() == [True, True, False]
    for share, count in ((0.5, 1), (0.9, 1), (0.9001, 2), (0.995, 3)):
        assert informative_latents(tree, relevance=worth, min_share=share)["by_relevance"].sum() == count
    assert not informative_latents(tree, relevance=0 * worth)["by_relevance"].any()
    with pytest.raises(UserError, match=r"min_share=1\.0: expected a number between 0 and 1"):
        informative_latents(tree, relevance=worth, min_share=1.0)
    with pytest.raises(UserError, match=r"relevance holds .* expected relevance of 3 latents"):
        informative_latents(tree, relevance=worth.isel(latent=[0, 1]))


def test_a_code_without_noise_has_infinite_signal_to_noise():
    found = informative_latents(tree_of(np.array([1.0, 0.0]), np.zeros(2), np.zeros(2)))
    np.testing.assert_array_equal(found["signal_to_noise"], [np.inf, 0.0])


def test_counts():
    counts = count_informative(informative_latents(gaussian_tree()))
    assert {name: int(count) for name, count in counts.items()} == {"by_variance": 1, "by_kl": 1, "active_units": 2}
    assert counts.attrs["latents"] == 3
    assert counts["by_kl"].attrs["rule"] == "kl > 0.1 nats"
    with pytest.raises(UserError, match="no rule"):
        count_informative(xr.Dataset({"kl": ("latent", [0.0])}))


def test_mistakes_end_in_one_line():
    good = gaussian_tree()
    stats = good["sample_stats"].to_dataset()

    def tree(dataset: xr.Dataset) -> xr.DataTree:
        return xr.DataTree.from_dict({"/sample_stats": dataset})

    two = stats.assign({f"{site}_{kind}": stats[f"z_{kind}"] for site in "ab" for kind in ("mean", "variance")})
    short = xr.Dataset({"worsening": ("latent", [1.0]), "relative": ("latent", [1.0])})
    other = xr.Dataset({name: ("latent", [1.0] * 3) for name in short}, coords={"latent": [0, 1, 7]})
    cases = [
        (xr.DataTree.from_dict({"/posterior": stats}), {}, "no sample_stats"),
        (tree(stats.drop_vars("kl")), {}, "lacks 'kl'"),
        (tree(stats[["kl"]]), {}, "holds kl, expected the mean and variance .* give from_pyro_svi the images"),
        (tree(two.drop_vars(["z_mean"])), {}, "the tree holds the codes a, b; give site="),
        (tree(two), {}, "the tree holds the codes z, a, b"),
        (good, {"site": "y"}, "site='y': expected one of z$"),
        (tree(stats.expand_dims(draw=2)), {}, "expected \\(image, latent\\)"),
        (tree(stats.isel(image=slice(1))), {}, "fewer than two images"),
        (tree(stats.assign(kl=stats["kl"].where(stats["kl"]["latent"] != 1))), {}, r"NaN for latents \[1\]"),
        (tree_of(np.ones(2), np.ones(2), np.ones(2), prior_variance=None), {}, "prior_variance came as None"),
        (good, {"prior_variance": -1.0}, "prior_variance came as -1.0"),
        (good, {"ablation": short}, "of 3 latents"),
        (tree(stats.assign_coords(latent=[0, 1, 2])), {"ablation": other}, "ablation is NaN or lacks latents"),
        (good, {"ablation": xr.Dataset({name: ("latent", [np.nan] * 3) for name in short})}, "ablation is NaN"),
    ]
    for wrong, options, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            informative_latents(wrong, **options)
        assert "\n" not in str(caught.value)
