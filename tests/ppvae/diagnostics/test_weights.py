"""Each image's importance weights, read from a tree."""

import math

import arviz_stats  # noqa: F401 - the accessor of xarray
import numpy as np
import pyro
import pytest
import xarray as xr

from ppvae import UserError, from_pyro_svi, log_marginal
from ppvae.checks import check_sites
from ppvae.diagnostics import importance, pareto_smooth
from ppvae.pair.terms import pair_traces
from ppvae.pair.untouched import evaluating


def test_the_exact_guide_is_good_for_every_image(linear):
    images = linear.draw_images(9, 0)
    found = importance(from_pyro_svi(linear.model, linear.guides["exact"], images, 40))
    assert (found["pareto_k"] == -np.inf).all()
    np.testing.assert_allclose(found["effective_samples"], 40, rtol=1e-9)
    for name in ("elbo", "elpd", "elpd_smoothed"):
        np.testing.assert_allclose(found[name], linear.evidence(images), rtol=1e-9)


def test_the_exact_guide_is_good_in_single_precision_too(linear):
    """Rounding noise of its ratios is no tail."""
    tree = from_pyro_svi(linear.model, linear.guides["exact"], linear.draw_images(40, 0), 60)
    single = tree.copy()
    for name in ("log_p", "log_q"):
        single["sample_stats"][name] = (tree["sample_stats"][name] - 700).astype(np.float32)
    assert float((single["sample_stats"]["log_p"] - single["sample_stats"]["log_q"]).std("draw").max()) > 1e-5
    assert (importance(single)["pareto_k"] == -np.inf).all()


def test_numbers_are_those_of_arviz_and_of_the_definition(linear):
    tree = from_pyro_svi(linear.model, linear.guides["mean field"], linear.draw_images(7, 1), 300)
    found, stats = importance(tree), tree["sample_stats"]
    ratios = stats["log_p"] - stats["log_q"]
    _, shapes = (-ratios).azstats.psislw(dim=["chain", "draw"])
    np.testing.assert_allclose(found["pareto_k"], shapes, atol=1e-12)
    weights = np.exp(ratios)
    np.testing.assert_allclose(found["elpd"], np.log(weights.mean(("chain", "draw"))))
    effective = weights.sum(("chain", "draw")) ** 2 / (weights**2).sum(("chain", "draw"))
    np.testing.assert_allclose(found["effective_samples"], effective)
    np.testing.assert_allclose(found["elbo"], stats["elbo"], rtol=1e-9)
    assert found["pareto_k"].attrs["good"] == pytest.approx(1 - 1 / math.log10(300))
    assert found.sizes == {"image": 7}
    assert {name: found[name].attrs["units"] for name in ("elpd", "pareto_k")} == {"elpd": "nats", "pareto_k": "1"}


def test_images_are_not_pooled(linear):
    """One spoilt image spoils its own k̂ alone, and no image's depends on its neighbours."""
    tree = from_pyro_svi(linear.model, linear.guides["exact"], linear.draw_images(5, 2), 100)
    tree["sample_stats"]["log_p"][0, :, 2] += 10 * np.random.default_rng(0).normal(size=100)
    found = importance(tree)["pareto_k"].values
    assert found[2] > 1
    assert (found[[0, 1, 3, 4]] == -np.inf).all()


@pytest.mark.parametrize("dims", [("chain", "draw"), ("sample",)])
def test_of_a_guide_as_a_whole_the_numbers_are_scalars(linear, dims):
    """One batch of images as a general pair's data: the ratios are the sums of its images', the k̂ is theirs."""
    args, options = (linear.draw_images(3, 1),), {"num_samples": 60, "sample_dims": dims, "prior": False}
    tree = from_pyro_svi(linear.model, linear.guides["mean field"], model_args=args, **options)
    ratios = (tree["sample_stats"]["log_p"] - tree["sample_stats"]["log_q"]).values.ravel()
    found = importance(tree)
    assert not found.dims
    assert not found.coords
    assert float(found["pareto_k"]) == pytest.approx(float(pareto_smooth(ratios)[1]))
    assert float(found["elbo"]) == pytest.approx(ratios.mean())
    assert float(found["elpd"]) == pytest.approx(float(np.log(np.exp(ratios).mean())))
    assert found.attrs["num_samples"] == 60
    exact = importance(from_pyro_svi(linear.model, linear.guides["exact"], model_args=args, **options))
    assert float(exact["pareto_k"]) == -np.inf
    assert float(exact["elbo"]) == pytest.approx(float(linear.evidence(*args).sum()))


@pytest.mark.parametrize("dims", [("chain", "draw"), ("sample",)])
def test_both_kinds_of_sample_dims(linear, dims):
    images = linear.draw_images(4, 3)
    options = {"num_samples": 50, "seed": 1}
    tree = from_pyro_svi(linear.model, linear.guides["narrow"], images, sample_dims=dims, **options)
    expected = importance(from_pyro_svi(linear.model, linear.guides["narrow"], images, **options))
    xr.testing.assert_equal(importance(tree), expected)


def test_the_bound_of_a_wrong_guide_lies_between_elbo_and_evidence(linear):
    """KL(q ‖ posterior) = ½ Σ(¼ − 1 + ln 4) for half the width: the ELBO is as far below, within five errors."""
    images = linear.draw_images(50, 4)
    found = importance(from_pyro_svi(linear.model, linear.guides["narrow"], images, 500))
    gap = linear.evidence(images).numpy() - found["elbo"]
    expected = 1.5 * (0.25 - 1 + math.log(4))
    assert abs(float(gap.mean()) - expected) < 5 * float(gap.std()) / math.sqrt(50)
    assert (found["elbo"] < found["elpd"]).all()
    assert float(found["elpd"].mean()) < float(linear.evidence(images).mean())


def test_log_marginal_has_the_same_shapes(linear):
    """With all draws decoded at once, or few at a time."""
    images = linear.draw_images(4, 5)
    found = log_marginal(linear.model, linear.guides["mean field"], images, 200, batch_size=10_000)
    assert found["pareto_k"].attrs["good"] == pytest.approx(1 - 1 / math.log10(200))
    assert np.isfinite(found["pareto_k"]).all()
    assert (log_marginal(linear.model, linear.guides["exact"], images, 200, batch_size=60)["pareto_k"] == -np.inf).all()
    assert np.isnan(log_marginal(linear.model, linear.guides["exact"], images, 3)["pareto_k"]).all()


def test_log_marginals_shapes_are_those_of_its_draws(linear):
    model, guide, images = linear.model, linear.guides["mean field"], linear.draw_images(4, 5)
    found = log_marginal(model, guide, images, 200, batch_size=10_000, seed=6)
    with evaluating(seed=6):
        check_sites(model, guide, images)
        with pyro.plate("draws", 200, dim=-2):
            drawn, scored = pair_traces(model, guide, images)
    terms = [scored.nodes[name]["fn"].log_prob(scored.nodes[name]["value"]) for name in ("z", "x")]
    ratios = sum(terms) - drawn.nodes["z"]["fn"].log_prob(drawn.nodes["z"]["value"])
    np.testing.assert_allclose(found["elbo"], ratios.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found["pareto_k"], pareto_smooth(ratios.T.numpy())[1], atol=1e-9)


def test_mistakes_are_named_in_one_line(linear):
    tree = from_pyro_svi(linear.model, linear.guides["exact"], linear.draw_images(2, 0), 3)
    with pytest.raises(UserError, match=r"sample_stats lacks 'log_q'.*log_p"):
        importance(xr.DataTree.from_dict({"sample_stats": tree["sample_stats"].to_dataset().drop_vars("log_q")}))
    with pytest.raises(UserError, match="no sample_stats; make it with from_pyro_svi"):
        importance(xr.DataTree())
    with pytest.raises(UserError, match="tree is a Dataset"):
        importance(xr.Dataset())
