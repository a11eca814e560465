"""Comparison of models on held-out images, against ArviZ and closed forms."""

import arviz as az
import matplotlib as mpl
import numpy as np
import pytest
import torch
import xarray as xr

from guides import MeanFieldNormal
from ppvae import VAE, UserError, log_marginal
from ppvae.examination.comparison import ELPDDataImportance, compare, to_elpd
from ppvae.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    DiscretisedLogisticLikelihood,
    NormalLikelihood,
)
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior


def measured(
    values: np.ndarray,
    *,
    pixels: str = "a",
    units: str = "nats",
    k: float = 0.1,
    measure: str = "probability",
    data: str | None = None,
) -> xr.Dataset:
    """What ``log_marginal`` returns, of given log p(x)."""
    return xr.Dataset(
        {
            "log_marginal": ("image", values, {"units": units}),
            "pareto_k": ("image", np.full(len(values), k), {"good": 0.7}),
        },
        coords={"image": np.arange(len(values))},
        attrs={"num_samples": 5000, "data": data or f"digits {pixels}", "pixels": pixels, "measure": measure},
    )


def normal(seed: int, mean: float, n: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 20, n)


def test_elpd_is_the_sum_over_the_images_with_its_standard_error():
    values = normal(0, -100)
    found = to_elpd(measured(values))
    assert found.elpd == pytest.approx(values.sum(), rel=1e-12)
    assert found.se == pytest.approx(np.sqrt(len(values)) * values.std(ddof=1), rel=1e-12)
    assert (found.n_data_points, found.n_samples, found.kind) == (400, 5000, "importance")
    assert not found.warning
    assert to_elpd(measured(values, k=0.9)).warning
    assert "400" in str(found)
    assert "5000" in str(found)


def test_differences_are_those_of_the_images():
    """Models that agree which images are hard differ by far less than either's own standard error."""
    hard, noise = normal(0, -100), np.random.default_rng(1).normal(-1, 0.5, 400)
    table = compare({"better": measured(hard), "worse": measured(hard + noise)})
    assert list(table.index) == ["better", "worse"]
    assert abs(table.loc["worse", "elpd_diff"]) == pytest.approx(-noise.sum(), rel=1e-9)
    assert table.loc["worse", "dse"] == pytest.approx(np.sqrt(400) * noise.std(ddof=0), rel=5e-3)
    assert table.loc["better", "elpd"] == pytest.approx(hard.sum(), rel=1e-12)
    assert table.loc["worse", "se"] > 10 * table.loc["worse", "dse"]


def test_equals_arviz_where_arviz_does_not_underflow():
    """Densities of a few nats: taking off the best model's changes neither differences nor stacking weights."""
    rng = np.random.default_rng(2)
    models = {name: measured(rng.normal(-2, 1, 300)) for name in ("a", "b", "c")}
    plain = az.compare({name: to_elpd(one) for name, one in models.items()}, round_to="none")
    ours = compare(models)
    columns = ["elpd", "elpd_diff", "dse", "se", "weight"]
    np.testing.assert_allclose(
        ours[columns].astype(float), plain.loc[ours.index, columns].astype(float), rtol=1e-6, atol=2e-5
    )


def test_weights_stand_images_of_thousands_of_nats():
    """ArviZ's own exponential underflows there: half the images belong to each model, so half the weight does."""
    base, swing = normal(3, -5000), np.where(np.arange(400) % 2, 30.0, -30.0)
    table = compare({"odd": measured(base + swing), "even": measured(base - swing)})
    np.testing.assert_allclose(table["weight"], 0.5, atol=1e-3)


def test_reference_and_plot():
    models = {name: measured(normal(0, -100) - shift) for shift, name in enumerate(["a", "b", "c"])}
    table = compare(models, reference="b")
    assert table.loc["b", "elpd_diff"] == 0
    assert np.sign(table.loc["a", "elpd_diff"]) != np.sign(table.loc["c", "elpd_diff"])
    with mpl.rc_context({"backend": "agg"}):
        az.plot_compare(compare(models), backend="matplotlib")


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ({"a": measured(normal(0, -9))}, {}, "1 of them; give two"),
        (
            {"a": measured(normal(0, -9)), "b": measured(normal(1, -9), pixels="b")},
            {},
            "a was measured on digits a, b on digits b: not the same images",
        ),
        (
            {"a": measured(normal(0, -9)), "b": measured(normal(1, -9), pixels="b", data="digits a")},
            {},
            "not the same images",
        ),
        ({"a": measured(normal(0, -9)), "b": measured(normal(1, -9), units="surrogate nats")}, {}, "surrogate"),
        ({"a": measured(normal(0, -9)), "b": measured(np.full(400, np.nan))}, {}, "400 images is not finite"),
        (
            {"a": measured(normal(0, -9)), "b": measured(normal(1, -9), measure="density")},
            {},
            "a gives a probability of the pixels, b a density",
        ),
        ({"a": measured(normal(0, -9)), "b": xr.Dataset()}, {}, "lacks log_marginal, pareto_k"),
        ({n: measured(normal(0, -9)) for n in "ab"}, {"reference": "c"}, "none of the models a, b"),
        ({n: measured(normal(0, -9)) for n in "ab"}, {"method": "loo"}, "method='loo': expected one of stacking"),
    ],
)
def test_mistakes_end_in_one_line(models, options, message):
    with pytest.raises(UserError, match=message) as error:
        compare(models, **options)
    assert "\n" not in str(error.value)


def test_objects_compare_as_datasets_do():
    models = {name: measured(normal(0, -100) - shift) for shift, name in enumerate(["a", "b"])}
    objects = {name: to_elpd(one) for name, one in models.items()}
    assert all(isinstance(one, ELPDDataImportance) for one in objects.values())
    assert compare(objects).equals(compare(models))


def test_rounding_is_of_every_column():
    models = {name: measured(normal(0, -100) - shift / 3) for shift, name in enumerate(["a", "b"])}
    numbers = compare(models, round_to=1)[["elpd", "se", "elpd_diff", "dse"]].astype(float)
    np.testing.assert_array_equal(numbers, numbers.round(1))


@pytest.mark.parametrize(
    ("likelihood", "measure"),
    [("normal", "density"), ("logistic", "probability"), ("categorical", "probability"), ("bernoulli", "probability")],
)
def test_a_density_says_so(likelihood, measure):
    """A normal of small scale beats any probability of grey levels, by what means nothing."""
    shape = (1, 4, 4)
    kinds = {
        "normal": (NormalLikelihood, 1),
        "logistic": (DiscretisedLogisticLikelihood, 2),
        "categorical": (CategoricalLikelihood, 256),
        "bernoulli": (BernoulliLikelihood, 1),
    }
    make, maps = kinds[likelihood]
    model = VAE(NormalPrior(2), make(MLPDecoder(2, shape, (8,), maps=maps)))
    guide = MeanFieldNormal(MLPEncoder(shape, (8,)), 2)
    assert log_marginal(model, guide, torch.ones(3, *shape), 5).attrs["measure"] == measure
