"""Any Pyro pair: plates become dims, ArviZ reads the tree as it is, closed forms are met."""

import arviz as az
import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoGuideList,
    AutoMultivariateNormal,
    AutoNormal,
)
from scipy import stats

from guides import MeanFieldNormal
from ppvae import VAE, UserError, from_pyro_svi, write_posterior
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.posterior.store import read_posterior
from ppvae.priors import NormalPrior

matplotlib.use("Agg")

EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])  # Rubin 1981
DRAWS = 200
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
SCHOOLS = list("ABCDEFGH")


@pytest.fixture(autouse=True)
def _own_parameters():
    with pyro.get_param_store().scope():
        yield


def schools(errors, effects=None):
    """Eight schools, not centred (Gelman et al. 2013, Sec. 5.5)."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(errors)):
        eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * eta)
        pyro.sample("y", dist.Normal(theta, errors), obs=effects)


def trained(model, guide, *args, steps=200):
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.03}), Trace_ELBO())
    for _ in range(steps):
        svi.step(*args)
    return guide


def within(draws, expected, error):
    """5 standard errors of the mean."""
    assert (np.abs(np.asarray(draws - expected)) < 5 * np.asarray(error)).all(), (draws, expected, error)


def test_eight_schools_with_an_auto_normal_guide():
    """Medians and standard deviations are AutoNormal's own closed forms; log p and log q are the densities."""
    guide = trained(schools, AutoNormal(schools), ERRORS, EFFECTS, steps=80)
    store = pyro.get_param_store()
    before = {name: value.detach().clone() for name, value in store.items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    draws = 150
    tree = from_pyro_svi(
        schools, guide, num_samples=draws, model_args=(ERRORS, EFFECTS), coords={"school": SCHOOLS}, prior=False
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert set(store.keys()) == set(before)
    assert all(torch.equal(value, before[name]) for name, value in store.items())

    posterior = tree["posterior"]
    assert {name: array.dims[2:] for name, array in posterior.data_vars.items()} == {
        "mu": (), "tau": (), "eta": ("school",), "theta": ("school",)
    }  # fmt: skip
    assert posterior["school"].values.tolist() == SCHOOLS
    low, middle, high = (value for value in np.array([stats.norm.cdf(-1), 0.5, stats.norm.cdf(1)]))
    quantiles = guide.quantiles([low, middle, high], ERRORS, EFFECTS)
    for name in ("mu", "eta"):
        below, median, above = (quantiles[name][i].detach().numpy() for i in range(3))
        deviation = (above - below) / 2
        within(posterior[name].mean(("chain", "draw")), median, deviation / draws**0.5)
        within(posterior[name].std(("chain", "draw")), deviation, deviation / (2 * draws) ** 0.5)
    below, median, above = (float(value.log()) for value in quantiles["tau"])
    logarithms = np.log(posterior["tau"])
    within(logarithms.mean(), median, (above - below) / 2 / draws**0.5)
    np.testing.assert_allclose(posterior["theta"], posterior["mu"] + posterior["tau"] * posterior["eta"], rtol=1e-5)

    mu, tau, eta, theta = (posterior[name].values[0] for name in ("mu", "tau", "eta", "theta"))
    terms = stats.norm.logpdf(EFFECTS.numpy(), theta, ERRORS.numpy())
    np.testing.assert_allclose(tree["log_likelihood"]["y"][0], terms, rtol=1e-4)
    priors = {
        "mu": stats.norm.logpdf(mu, 0, 5),
        "tau": stats.halfcauchy.logpdf(tau, scale=5),
        "eta": stats.norm.logpdf(eta),
    }
    for name, expected in priors.items():
        np.testing.assert_allclose(tree["log_prior"][name][0], expected, rtol=1e-4, atol=1e-5)
    log_p = terms.sum(1) + priors["mu"] + priors["tau"] + priors["eta"].sum(1)
    np.testing.assert_allclose(tree["sample_stats"]["log_p"][0], log_p, rtol=1e-4)
    location, scale = (
        np.array([float(before[f"AutoNormal.{part}.{name}"]) for name in ("mu", "tau")]) for part in ("locs", "scales")
    )
    log_q = stats.norm.logpdf(mu, location[0], scale[0])
    log_q = log_q + stats.norm.logpdf(np.log(tau), location[1], scale[1]) - np.log(tau)
    eta_q = stats.norm(before["AutoNormal.locs.eta"].numpy(), before["AutoNormal.scales.eta"].numpy())
    log_q = log_q + eta_q.logpdf(eta).sum(1)
    np.testing.assert_allclose(tree["sample_stats"]["log_q"][0], log_q, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def eight_schools() -> xr.DataTree:
    with pyro.get_param_store().scope():
        torch.manual_seed(0)
        guide = trained(schools, AutoMultivariateNormal(schools), ERRORS, EFFECTS, steps=150)
        return from_pyro_svi(
            schools, guide, num_samples=DRAWS, model_args=(ERRORS, EFFECTS), posterior_predictive=True,
            constant_data={"errors": ERRORS}, dims={"errors": ["school"]}, coords={"school": SCHOOLS},
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # a normal guide's tails are too thin
@pytest.mark.filterwarnings("ignore:We detected potential issues")
@pytest.mark.filterwarnings("ignore:The figure layout has changed")
@pytest.mark.parametrize(
    "read",
    [
        "summary",
        "ess",
        "hdi",
        "loo",
        "psense",
        "psense_summary",
        "plot_ppc_dist",
        "plot_forest",
        "plot_prior_posterior",
    ],
)
def test_arviz_reads_it_without_further_arguments(read, eight_schools):
    result = getattr(az, read)(eight_schools)
    if read == "summary":
        assert len(result) == 2 + 2 * 8
        assert float(result.loc["theta[A]", "mean"]) == pytest.approx(
            float(eight_schools["posterior"]["theta"].sel(school="A").mean()), rel=0.1
        )
    if read == "loo":
        assert -33 < result.elpd < -29  # MCMC draws of this model have about -30.7
    if read == "psense_summary":
        assert set(result.index) >= {"mu", "tau", "theta[A]"}


def test_the_schema_is_arvizs(eight_schools):
    """The groups and attributes that ArviZ's own converters write."""
    expected = {"posterior", "posterior_predictive", "sample_stats", "log_likelihood", "log_prior", "prior"}
    expected |= {"prior_predictive", "observed_data", "constant_data"}
    assert set(eight_schools.children) == expected
    for name in ("created_at", "creation_library", "creation_library_version", "inference_library"):
        assert eight_schools.attrs[name]
    assert eight_schools.attrs["inference_library"] == "pyro"
    for name, group in eight_schools.children.items():
        drawn = name not in ("observed_data", "constant_data")
        assert all((array.dims[:2] == ("chain", "draw")) == drawn for array in group.data_vars.values()), name
        assert set(group.dims) <= set(group.coords)
        assert np.isfinite(group.to_dataset()).all().to_array().all()
    twin = az.from_dict(
        {name: {k: v.values for k, v in group.data_vars.items()} for name, group in eight_schools.children.items()},
        dims={"eta": ["school"], "theta": ["school"], "y": ["school"], "errors": ["school"]},
        coords={"school": SCHOOLS},
    )
    for name, group in twin.children.items():
        assert group.to_dataset().drop_attrs().equals(eight_schools[name].to_dataset().drop_attrs()), name


def test_it_survives_the_disk(eight_schools, tmp_path):
    write_posterior(eight_schools, tmp_path / "schools.zarr")
    back = read_posterior(tmp_path / "schools.zarr")
    for name, group in eight_schools.children.items():
        assert back[name].to_dataset().load().identical(group.to_dataset()), name


def test_one_seed_one_tree():
    guide = trained(schools, AutoNormal(schools), ERRORS, EFFECTS, steps=2)
    first, again, other = (
        from_pyro_svi(schools, guide, num_samples=4, model_args=(ERRORS, EFFECTS), posterior_predictive=True, seed=seed)
        for seed in (1, 1, 2)
    )
    for name, group in first.children.items():
        assert group.to_dataset().identical(again[name].to_dataset()), name
    more = from_pyro_svi(schools, guide, num_samples=6, model_args=(ERRORS, EFFECTS), seed=1)
    assert not np.isin(first["posterior"]["mu"], other["posterior"]["mu"]).any()
    assert len(np.unique(more["posterior"]["mu"])) == 6


@pytest.mark.parametrize("kind", [AutoDiagonalNormal, AutoMultivariateNormal, AutoDelta, "list"])
def test_auto_guides(kind):
    """Of a conjugate pair whose posterior is normal: mean 2/3 of the data's, by the guide's own median."""

    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.1))
        with pyro.plate("point", len(x)):
            pyro.sample("x", dist.Normal(loc, scale), obs=x)

    if kind == "list":
        guide = AutoGuideList(model)
        guide.append(AutoNormal(pyro.poutine.block(model, expose=["loc"])))
        guide.append(AutoDelta(pyro.poutine.block(model, expose=["scale"])))
    else:
        guide = kind(model)
    x = torch.tensor([1.0, 2.0])
    trained(model, guide, x, steps=30)
    tree = from_pyro_svi(model, guide, num_samples=60, model_args=(x,), prior=False)
    posterior, statistics = tree["posterior"], tree["sample_stats"]
    assert set(posterior.data_vars) == {"loc", "scale"}  # no unconstrained or joint sites
    median = guide.median(x)
    spread = max(float(posterior["loc"].std()), 1e-5)  # of AutoDelta: rounding
    within(float(posterior["loc"].mean()), float(median["loc"]), spread / 60**0.5)
    elbo = -np.mean([Trace_ELBO().loss(model, guide, x) for _ in range(60)])
    error = float((statistics["log_p"] - statistics["log_q"]).std()) / 60**0.5
    within(float((statistics["log_p"] - statistics["log_q"]).mean()), elbo, 2**0.5 * error + 1e-5)


def test_nested_plates_and_declared_dims():
    """Every plate is a dim, at whatever place; event dims follow by their declared names, else ArviZ's."""

    def model(y=None):
        with pyro.plate("region", 3, dim=-2):
            alpha = pyro.sample("alpha", dist.Normal(torch.zeros(3, 1), 1.0))
            weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3, 1, 4)), infer={"event_dims": ["kind"]})
            with pyro.plate("school", 2, dim=-1):
                beta = pyro.sample("beta", dist.Normal(alpha, 0.5))
                slope = pyro.sample("slope", dist.Normal(torch.zeros(2, 5), 1.0).to_event(2))
                mean = pyro.deterministic("mean", beta + slope.sum((-1, -2)))
                pyro.deterministic("pair", torch.stack([beta, -beta], -1), event_dim=1)
                pyro.sample("y", dist.Normal(mean, 1.0), obs=y)
        with pyro.plate("school_too", 2, dim=-1):
            pyro.sample("gamma", dist.Normal(0.0, 1.0))
        pyro.deterministic("total", weights.sum((0, 1)))

    def guide(_y=None):
        loc = pyro.param("loc", torch.arange(3.0)[:, None])
        with pyro.plate("region", 3, dim=-2):
            pyro.sample("alpha", dist.Normal(loc, 0.1))
            pyro.sample("weights", dist.Dirichlet(torch.arange(1.0, 5)))
            with pyro.plate("school", 2, dim=-1):
                pyro.sample("beta", dist.Normal(loc, 0.2))
                pyro.sample("slope", dist.Normal(torch.zeros(2, 5), 1.0).to_event(2))
        with pyro.plate("school_too", 2, dim=-1):
            pyro.sample("gamma", dist.Normal(0.0, 1.0))

    y = torch.arange(6.0).reshape(3, 2)
    pyro.param("loc", torch.arange(3.0)[:, None])  # as after training
    tree = from_pyro_svi(
        model, guide, num_samples=50, model_args=(y,), posterior_predictive=True,
        dims={"slope": ["region", "school", "input", "output"]}, extra_event_dims={"pair": ["sign"], "total": ["kind"]},
        coords={"region": ["n", "s", "e"], "sign": ["+", "-"]},
    )  # fmt: skip
    posterior = tree["posterior"]
    assert {name: array.dims[2:] for name, array in posterior.data_vars.items()} == {
        "alpha": ("region",),
        "weights": ("region", "kind"),
        "beta": ("region", "school"),
        "slope": ("region", "school", "input", "output"),
        "gamma": ("school_too",),
        "mean": ("region", "school"),
        "pair": ("region", "school", "sign"),
        "total": ("kind",),
    }
    for group in ("observed_data", "log_likelihood", "posterior_predictive", "prior_predictive"):
        assert tree[group]["y"].dims[-2:] == ("region", "school")
    assert tree["log_prior"]["slope"].dims[2:] == ("region", "school")
    assert tree["log_prior"]["weights"].dims[2:] == ("region",)
    np.testing.assert_array_equal(tree["observed_data"]["y"], y)
    within(posterior["alpha"].mean(("chain", "draw")), np.arange(3.0), 0.1 / 50**0.5)
    expected = stats.norm.logpdf(y.numpy(), posterior["mean"].values)
    np.testing.assert_allclose(tree["log_likelihood"]["y"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(posterior["pair"].sel(sign="-"), -posterior["beta"])
    np.testing.assert_allclose(posterior["total"], posterior["weights"].sum("region"), rtol=1e-5)
    plain = from_pyro_svi(model, guide, num_samples=2, model_args=(y,))
    assert plain["posterior"]["slope"].dims[2:] == ("region", "school", "slope_dim_0", "slope_dim_1")
    assert plain["posterior"]["total"].dims[2:] == ("total_dim_0",)


def test_predictions_for_other_schools_keep_the_global_draws():
    guide = trained(schools, AutoNormal(schools), ERRORS, EFFECTS, steps=20)
    errors = torch.tensor([1e-6, 1e-6, 2.0])
    tree = from_pyro_svi(
        schools, guide, num_samples=80, prior=False, model_args=(ERRORS, EFFECTS), pred_args=(errors,),
        predictions_constant_data={"errors": errors}, pred_dims={"errors": ["school"]}, coords={"school": SCHOOLS},
    )  # fmt: skip
    predictions, posterior = tree["predictions"], tree["posterior"]
    assert set(predictions.data_vars) == {"eta", "theta", "y"}  # mu and tau are the posterior's
    assert predictions["y"].dims == ("chain", "draw", "school")
    assert predictions.sizes["school"] == tree["predictions_constant_data"].sizes["school"] == 3
    np.testing.assert_allclose(
        predictions["theta"], posterior["mu"] + posterior["tau"] * predictions["eta"], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(predictions["y"][..., :2], predictions["theta"][..., :2], atol=1e-4)
    within(predictions["eta"].mean(("chain", "draw")), 0, 1 / 80**0.5)  # new schools' effects are the prior's


def test_the_same_schools_predicted_anew_keep_all_draws():
    guide = trained(schools, AutoNormal(schools), ERRORS, EFFECTS, steps=50)
    tree = from_pyro_svi(schools, guide, num_samples=20, model_args=(ERRORS, EFFECTS), pred_args=(ERRORS,))
    assert set(tree["predictions"].data_vars) == {"theta", "y"}
    np.testing.assert_allclose(tree["predictions"]["theta"], tree["posterior"]["theta"], rtol=1e-6)


def test_samples_drawn_elsewhere_are_named():
    guide = trained(schools, AutoNormal(schools), ERRORS, EFFECTS, steps=2)
    samples = Predictive(schools, num_samples=30)(ERRORS)
    tree = from_pyro_svi(
        schools, guide, num_samples=5, model_args=(ERRORS, EFFECTS), prior=samples,
        posterior_predictive={"y": samples["y"]}, predictions={"y": samples["y"][:, :3]},
    )  # fmt: skip
    assert set(tree["prior"].data_vars) == {"mu", "tau", "eta", "theta"}
    assert set(tree["prior_predictive"].data_vars) == {"y"}
    assert tree["prior"]["theta"].dims == ("chain", "draw", "school")
    assert tree["posterior_predictive"]["y"].sizes["draw"] == 30
    assert tree["predictions"].sizes["school"] == 3
    np.testing.assert_array_equal(tree["prior_predictive"]["y"][0], samples["y"])


def test_prior_is_the_models(eight_schools):
    """5 standard errors of the draws; the spread of y is that of mu, tau eta and the noise: no moments for tau."""
    prior = eight_schools["prior"]
    within(prior["mu"].mean(), 0, 5 / DRAWS**0.5)
    within(prior["eta"].std(("chain", "draw")), 1, 1 / (2 * DRAWS) ** 0.5)
    assert float(np.abs(prior["tau"] < 5).mean()) == pytest.approx(0.5, abs=5 * 0.5 / DRAWS**0.5)
    residual = (eight_schools["prior_predictive"]["y"] - prior["theta"]) / eight_schools["constant_data"]["errors"]
    within(residual.std(("chain", "draw")), 1, 1 / (2 * DRAWS) ** 0.5)
    replicated = eight_schools["posterior_predictive"]["y"] - eight_schools["posterior"]["theta"]
    within((replicated / eight_schools["constant_data"]["errors"]).std(("chain", "draw")), 1, 1 / (2 * DRAWS) ** 0.5)


def test_a_vae_as_a_general_pair():
    """The same densities as in the export by images; the image plate is a dim like any other."""
    torch.manual_seed(0)
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (1, 4, 4), hidden=[8]), scale=0.3))
    guide = MeanFieldNormal(MLPEncoder((1, 4, 4), hidden=[8]), 2)
    images = torch.rand(5, 1, 4, 4)
    tree = from_pyro_svi(model, guide, num_samples=3, model_args=(images,))
    assert tree["posterior"]["z"].dims == ("chain", "draw", "image", "latent")
    assert tree["observed_data"]["x"].dims == ("image", "channel", "row", "column")
    z = torch.from_numpy(tree["posterior"]["z"].values[0])
    with torch.no_grad():
        likelihood = model.likelihood(z).log_prob(images)
        prior = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_q = guide.posterior(images).log_prob(z)
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], likelihood, rtol=1e-4)
    np.testing.assert_allclose(tree["log_prior"]["z"][0], prior, rtol=1e-4)
    np.testing.assert_allclose(tree["sample_stats"]["log_p"][0], (likelihood + prior).sum(-1), rtol=1e-4)
    np.testing.assert_allclose(tree["sample_stats"]["log_q"][0], log_q.sum(-1), rtol=1e-4)
    statistics = from_pyro_svi(model, guide, images, 3)["sample_stats"]
    many = from_pyro_svi(model, guide, num_samples=100, model_args=(images,), prior=False)["posterior"]["z"]
    within(many.mean(("chain", "draw")), statistics["z_mean"], np.sqrt(statistics["z_variance"] / 100))


def test_missing_observations_are_blank_and_count_for_nothing():
    x = torch.tensor([1.0, 2.0, 3.0])
    seen = torch.tensor([True, False, True])

    def masked(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("point", 3), pyro.poutine.mask(mask=seen):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def imputed(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("point", 3):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x, obs_mask=seen)

    for model, site in ((masked, "x"), (imputed, "x_observed")):
        guide = AutoNormal(model)
        trained(model, guide, x, steps=2)
        tree = from_pyro_svi(model, guide, num_samples=10, model_args=(x,))
        np.testing.assert_array_equal(tree["observed_data"][site], [1, np.nan, 3])
        loc = tree["posterior"]["loc"].values[0]
        expected = stats.norm.logpdf(x.numpy(), loc[:, None]) * seen.numpy()
        np.testing.assert_allclose(tree["log_likelihood"][site][0], expected, rtol=1e-4)
    completed = tree["posterior"]["x"].values[0]
    np.testing.assert_array_equal(completed[:, [0, 2]], np.broadcast_to([1, 3], (10, 2)))
    assert len(np.unique(completed[:, 1])) == 10


def test_factors_and_sequential_plates():
    def model(x):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        pyro.factor("penalty", -(loc**2))
        for i in pyro.plate("step", 2):
            pyro.sample(f"x_{i}", dist.Normal(loc, 1.0), obs=x[i])

    def guide(x):
        pyro.sample("loc", dist.Normal(x.mean(), 1.0))

    x = torch.tensor([1.0, 2.0])
    tree = from_pyro_svi(model, guide, num_samples=4, model_args=(x,), posterior_predictive=True)
    assert set(tree["log_likelihood"].data_vars) == {"x_0", "x_1"} == set(tree["posterior_predictive"].data_vars)
    loc = tree["posterior"]["loc"].values
    log_p = stats.norm.logpdf(loc) - loc**2 + stats.norm.logpdf(x.numpy(), loc[..., None]).sum(-1)
    np.testing.assert_allclose(tree["sample_stats"]["log_p"], log_p, rtol=1e-4)


# Users' mistakes


def simple(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("point", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def simple_guide(x):  # noqa: ARG001
    pyro.sample("loc", dist.Normal(0.0, 1.0))


def subsampled(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("point", len(x), subsample_size=2) as index:
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x[index])


def wider(x):
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    simple(x)


def wider_guide(x):
    simple_guide(x)
    pyro.sample("other", dist.Normal(0.0, 1.0))


def untrained_guide(x):  # noqa: ARG001
    scale = pyro.param("scale of q", lambda: torch.ones(()), constraint=dist.constraints.positive)
    pyro.sample("loc", dist.Normal(pyro.param("loc of q", torch.tensor(99.0)), scale))


def clashing(x):
    with pyro.plate("x", len(x)):
        pyro.sample("loc", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=x)
    pyro.deterministic("x", torch.tensor(1.0))


def varying(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    if torch.rand(()) < 0.5:
        pyro.sample("more", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(loc, 1.0).expand(x.shape).to_event(1), obs=x)


def varying_guide(x):  # noqa: ARG001
    pyro.sample("loc", dist.Normal(0.0, 1.0))
    pyro.sample("more", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})


@pytest.mark.parametrize(
    ("model", "guide", "arguments", "expected"),
    [
        (wider, simple_guide, {}, "'scale' is neither observed nor drawn by the guide"),
        (simple, wider_guide, {}, "'other' is in the guide but not in the model"),
        (subsampled, simple_guide, {}, "plate 'point' subsamples 2 of 3"),
        (simple, AutoNormal(simple), {}, "AutoNormal was never run"),
        (varying, varying_guide, {"num_samples": 40}, "same in every run"),
        (simple, simple_guide, {"coords": {"pont": [1, 2, 3]}}, "pont"),
        (simple, simple_guide, {"coords": {"point": [1, 2]}}, "2 values for 'point'"),
        (simple, simple_guide, {"dims": {"x": ["a", "b"]}}, "'x' has dims of sizes .3,.; got the names"),
        (simple, simple_guide, {"extra_event_dims": {"loc": ["a"]}}, "'loc' has dims of sizes ..; got the names"),
        (simple, simple_guide, {"num_samples": 0}, "num_samples"),
        (simple, simple_guide, {"prior": 500}, "prior=500: expected True, False or samples"),
        (simple, simple_guide, {"posterior_predictive": 3}, "posterior_predictive=3: expected True, False or samples"),
        (simple, simple_guide, {"dims": {"lco": ["a"]}}, "dims names 'lco'; expected one of: loc$"),
        (simple, simple_guide, {"dims": {"theta": ["a"]}}, "dims names 'theta'; expected one of: loc, x$"),
        (simple, simple_guide, {"extra_event_dims": {"lco": ["a"]}}, "extra_event_dims names 'lco'"),
        (simple, simple_guide, {"seed": 1.5}, "seed=1.5: expected a whole number"),
        (simple, simple_guide, {"model_args": torch.zeros(3)}, "write model_args=.x,."),
        (simple, simple_guide, {"pred_args": torch.zeros(3)}, "write pred_args=.x,."),
        (simple, untrained_guide, {}, "params 'scale of q', 'loc of q' were never trained"),
        (simple, simple_guide, {"images": torch.zeros(1, 1, 2, 2)}, "model_args= came with images"),
    ],
)
def test_mistakes_end_in_one_line(model, guide, arguments, expected):
    with pytest.raises(UserError, match=expected) as caught:
        from_pyro_svi(model, guide, **{"model_args": (torch.arange(3.0),), "num_samples": 3, **arguments})
    assert "\n" not in str(caught.value)


def test_a_trained_module_needs_no_store():
    """Loaded from a checkpoint, or trained by plain torch: the parameters are the module's own."""
    x = torch.arange(3.0)
    auto, network = trained(simple, AutoNormal(simple), x, steps=3), torch.nn.Linear(1, 1)
    pyro.clear_param_store()

    def guide(_x):
        pyro.module("network", network)
        pyro.sample("loc", dist.Normal(network(torch.ones(1))[0], 1.0))

    for program in (auto, guide):
        pyro.clear_param_store()
        assert from_pyro_svi(simple, program, num_samples=2, model_args=(x,))["posterior"]["loc"].size == 2


def test_missing_data_are_told_by_the_models_own_names():
    """An AutoGuide draws auxiliary sites too, which nobody wrote."""
    guide = trained(schools, AutoNormal(schools), ERRORS, EFFECTS, steps=1)
    with pytest.raises(UserError, match=r"'y' is neither observed nor drawn by the guide \(mu, tau, eta\)"):
        from_pyro_svi(schools, guide, num_samples=2, model_args=(ERRORS,))


def test_modules_that_programs_call_keep_their_statistics():
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Dropout(0.5))

    def guide(x):
        pyro.sample("loc", dist.Normal(network(x[:, None]).mean(), 1e-6))

    x = torch.arange(3.0)
    tree = from_pyro_svi(simple, guide, num_samples=20, model_args=(x,))
    np.testing.assert_allclose(tree["posterior"]["loc"], 1 / (1 + 1e-5) ** 0.5, atol=1e-5)  # statistics 0 and 1
    assert network[0].running_mean.item() == 0
    assert network[0].training


def test_a_plate_and_a_site_of_one_name_are_told_apart():
    def model(x):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        with pyro.plate("theta_plate", len(x)):
            pyro.sample("x", dist.Normal(theta, 1.0), obs=x)

    def guide(x):  # noqa: ARG001
        pyro.sample("theta", dist.Normal(0.0, 1.0))

    with pytest.raises(UserError, match="'x' is a dim of 'x' and a site"):
        from_pyro_svi(model, guide, model_args=(torch.zeros(3),), num_samples=2, dims={"x": ["x"]})


# Lists, as ArviZ's converters take them


@pytest.mark.parametrize(
    "arguments",
    [
        {"model_args": [ERRORS, EFFECTS]},
        {"model_args": [ERRORS], "model_kwargs": {"effects": EFFECTS}},
        {"sample_dims": ["sample"]},
        {"sample_dims": "sample"},
        {"sample_dims": ["chain", "draw"]},
        {"coords": {"school": tuple(SCHOOLS)}},
        {"coords": {"school": torch.arange(8)}},
        {"constant_data": {"errors": ERRORS.tolist()}, "dims": {"errors": ["school"]}},
        {"constant_data": {"errors": [*ERRORS]}, "dims": {"errors": "school"}},
        {"constant_data": {"errors": ERRORS.clone().requires_grad_()}},
        {"constant_data": {"names": SCHOOLS}, "dims": {"names": ("school",)}},
        {"constant_data": {"since": np.array(["2020-01-01"], "datetime64[D]")}},
        {"pred_args": [ERRORS], "predictions_constant_data": {"names": SCHOOLS}, "pred_dims": {"names": ["school"]}},
        {"prior": {"mu": [1.0, 2.0], "theta": np.ones((2, 8)).tolist()}},
        {"posterior_predictive": {"y": np.ones((3, 8)).tolist()}},
        {"dims": {"theta": [None]}},
        {"dims": [], "coords": []},
    ],
    ids=str,
)
def test_lists_are_taken_where_arviz_takes_them(arguments):
    def guide(*_, **__):
        pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("tau", dist.LogNormal(0.0, 1.0))
        with pyro.plate("school", 8):
            pyro.sample("eta", dist.Normal(0.0, 1.0))

    tree = from_pyro_svi(
        schools, guide, **{"model_args": (ERRORS, EFFECTS), "num_samples": 2, "prior": False, **arguments}
    )
    draws = ("sample",) if arguments.get("sample_dims") in ("sample", ["sample"]) else ("chain", "draw")
    last = "theta_dim_0" if "theta" in arguments.get("dims", ()) else "school"
    assert tree["posterior"]["theta"].dims == (*draws, last)
    given = arguments.get("constant_data") or arguments.get("predictions_constant_data") or {}
    group = "constant_data" if "constant_data" in arguments else "predictions_constant_data"
    for name, values in given.items():
        found = tree[group][name]
        assert found.shape == np.shape(values if not isinstance(values, torch.Tensor) else values.detach())
        assert "school" in found.dims or not ({"dims", "pred_dims"} & set(arguments))
        assert found.values.tolist() == (values if name == "names" else np.asarray(found).tolist())


@pytest.mark.parametrize("make", [AutoDelta, lambda _: lambda x: pyro.sample("loc", dist.Delta(x.mean()))])
def test_leave_one_out_of_a_point_fails_with_a_line_of_ours(make):
    guide, x = make(simple), torch.arange(6.0)
    if isinstance(guide, AutoDelta):
        trained(simple, guide, x, steps=1)
    tree = from_pyro_svi(simple, guide, model_args=(x,), num_samples=100)
    for loo in (az.loo, lambda data: az.loo_approximate_posterior(data, np.zeros(100), np.zeros(100))):
        with pytest.raises(UserError, match="all draws are one point") as caught:
            loo(tree)
        assert "\n" not in str(caught.value)
    assert tree["log_likelihood"]["x"].shape == (1, 100, 6)
    assert set(tree.children) >= {"posterior", "log_likelihood", "sample_stats"}


def test_diverged_parameters_are_named_before_anything_is_exported():
    guide, x = trained(simple, AutoNormal(simple), torch.arange(3.0), steps=1), torch.arange(3.0)
    guide.locs.loc.data.fill_(torch.nan)
    with pytest.raises(UserError, match=r"parameter 'locs\.loc' of the guide has diverged"):
        from_pyro_svi(simple, guide, model_args=(x,), num_samples=2)
    pyro.param("center", torch.tensor(float("nan")))
    with pytest.raises(UserError, match="parameter 'center' has diverged"):
        from_pyro_svi(simple, lambda _: pyro.sample("loc", dist.Normal(pyro.param("center"), 1.0)), model_args=(x,))


def test_grey_pixels_under_a_bernoulli_are_refused_unless_masked():
    x = torch.tensor([0.0, 1.0, 0.4])

    def model(x, seen=None):
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        with pyro.plate("point", 3), pyro.poutine.mask(mask=True if seen is None else seen):
            pyro.sample("x", dist.Bernoulli(p), obs=x)

    def guide(x, seen=None):  # noqa: ARG001
        pyro.sample("p", dist.Beta(2.0, 2.0))

    with pytest.raises(UserError, match="outside the support of Bernoulli"):
        from_pyro_svi(model, guide, model_args=(x,), num_samples=2)
    from_pyro_svi(model, guide, model_args=(x, x != 0.4), num_samples=2)
