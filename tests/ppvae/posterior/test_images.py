"""The exported DataTree: ArviZ's groups, closed forms inside, and nothing changed outside."""

import arviz as az
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from guides import InverseAutoregressiveGuide, MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, Program, UserError, from_pyro_svi
from ppvae.datasets import sprites
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior

SHAPE, LATENTS, IMAGES, DRAWS = (1, 8, 8), 3, 7, 5


def make_pair(kind: str = "normal", shape=SHAPE) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    prior = NormalPrior(LATENTS) if kind == "normal" else NormalGammaPrior(LATENTS)
    model = VAE(prior, NormalLikelihood(MLPDecoder(LATENTS, shape, hidden=[16]), scale=0.3))
    encoder = MLPEncoder(shape, hidden=[16])
    return model, MeanFieldNormal(encoder, LATENTS) if kind == "normal" else NormalGammaGuide(encoder, LATENTS)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["normal", "normal_gamma"])
def kind(request) -> str:
    return request.param


def test_groups_dims_and_units(kind, images):
    tree = from_pyro_svi(*make_pair(kind), images, DRAWS)
    assert set(tree.children) == {
        "posterior", "prior", "sample_stats", "log_prior", "log_likelihood", "observed_data"
    }  # fmt: skip
    draws, latents = ("chain", "draw", "image"), {"z"} | ({"precision"} if kind == "normal_gamma" else set())
    for name in latents:
        assert tree["posterior"][name].dims == (*draws, "latent")
        assert tree["posterior"][name].shape == (1, DRAWS, IMAGES, LATENTS)
    assert set(tree["posterior"].data_vars) == latents
    assert tree["log_likelihood"]["x"].dims == draws
    assert {name: array.dims for name, array in tree["log_prior"].items()} == dict.fromkeys(latents, draws)
    assert tree["log_prior"]["z"].attrs == {"long_name": "log prior density of z", "units": "nats"}
    assert tree["observed_data"]["x"].dims == ("image", "channel", "row", "column")
    torch.testing.assert_close(torch.from_numpy(tree["observed_data"]["x"].values), images)
    statistics = tree["sample_stats"]
    assert {name: statistics[name].dims for name in ("log_p", "log_q")} == {"log_p": draws, "log_q": draws}
    assert statistics["elbo"].dims == ("image",)
    per_latent = {"kl", *(f"{site}_{moment}" for site in latents for moment in ("mean", "variance"))}
    per_latent |= {"p"} if kind == "normal_gamma" else set()
    assert {name for name in statistics.data_vars if statistics[name].dims == ("image", "latent")} == per_latent
    for name in ("log_p", "log_q", "elbo", "kl"):
        assert statistics[name].attrs["units"] == "nats"
    for group in tree.children.values():
        for dim, size in group.sizes.items():
            assert group[dim].values.tolist() == list(range(size)), dim
        for name, variable in group.data_vars.items():
            assert np.isfinite(variable).all(), name
    assert "pyro" in str(tree.attrs).lower()
    assert tree.attrs["seed"] == 0


def test_elbo_is_the_mean_of_log_p_minus_log_q(kind, images):
    model, guide = make_pair(kind)
    tree = from_pyro_svi(model, guide, images, 400)
    statistics = tree["sample_stats"]
    np.testing.assert_allclose(
        statistics["elbo"], (statistics["log_p"] - statistics["log_q"]).mean(("chain", "draw")), rtol=1e-5
    )
    # the same with the closed-form KL, within the Monte Carlo error of both
    terms = tree["log_likelihood"]["x"] - (statistics["log_p"] - statistics["log_q"])
    closed = tree["log_likelihood"]["x"].mean(("chain", "draw")) - statistics["kl"].sum("latent")
    error = terms.std(("chain", "draw")) / 400**0.5
    assert (abs(statistics["elbo"] - closed) < 5 * error).all()


def test_log_p_and_log_q_are_the_densities_of_the_draws(images):
    model, guide = make_pair()
    tree = from_pyro_svi(model, guide, images, DRAWS)
    z = torch.from_numpy(tree["posterior"]["z"].values[0])
    with torch.no_grad():
        log_q = guide.posterior(images).log_prob(z)
        log_likelihood = model.likelihood(z).log_prob(images)
        log_p = log_likelihood + dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    np.testing.assert_allclose(tree["sample_stats"]["log_q"][0], log_q, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(tree["sample_stats"]["log_p"][0], log_p, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], log_likelihood, rtol=1e-4, atol=1e-3)


def test_kl_and_moments_of_the_normal_pair_are_closed_forms(images):
    model, guide = make_pair()
    statistics = from_pyro_svi(model, guide, images, DRAWS)["sample_stats"]
    with torch.no_grad():
        q = guide.posterior(images).base_dist
    kl = 0.5 * (q.loc**2 + q.scale**2 - 1) - q.scale.log()
    np.testing.assert_allclose(statistics["kl"], kl, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(statistics["z_mean"], q.loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics["z_variance"], q.scale**2, rtol=1e-5)
    assert statistics["z_variance"].attrs["prior_variance"] == pytest.approx(1.0, rel=1e-6)


def test_kl_and_moments_of_the_normal_gamma_pair(images):
    """KL: Eqs. 8-9 of Jouffroy et al.; variance of z: E[1/λ] = β/(α − 1) within the error of its draws."""
    model, guide = make_pair("normal_gamma")
    draws = 4000
    statistics = from_pyro_svi(model, guide, images, draws)["sample_stats"]
    with torch.no_grad():
        features = guide.encoder(images)
        p = guide.logit(features).sigmoid()
        shape, rate = guide.gamma_parameters(p)
        loc = guide.loc(features)
    np.testing.assert_allclose(statistics["p"], p, rtol=1e-5)
    prior = dist.Gamma(torch.tensor(8.25), torch.tensor(3.62))
    kl = torch.distributions.kl_divergence(dist.Gamma(shape, rate), prior) + 0.5 * shape / rate * loc**2
    np.testing.assert_allclose(statistics["kl"], kl, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics["precision_mean"], shape / rate, rtol=1e-5)
    np.testing.assert_allclose(statistics["precision_variance"], shape / rate**2, rtol=1e-5)
    np.testing.assert_allclose(statistics["z_mean"], loc, rtol=1e-4, atol=1e-5)
    expected = rate / (shape - 1)
    deviation = (rate**2 / ((shape - 1) ** 2 * (shape - 2))).sqrt()  # of 1/λ under the Gamma
    assert (np.abs(statistics["z_variance"].values - expected.numpy()) < 5 * deviation.numpy() / draws**0.5).all()


def test_prior_variance_of_the_normal_gamma_prior_is_rate_over_shape_minus_one(images):
    statistics = from_pyro_svi(*make_pair("normal_gamma"), images, 2000)["sample_stats"]
    assert statistics["z_variance"].attrs["prior_variance"] == pytest.approx(3.62 / 7.25, rel=0.02)
    assert statistics["precision_variance"].attrs["prior_variance"] == pytest.approx(8.25 / 3.62**2, rel=1e-5)


def test_draws_come_from_q(images):
    model, guide = make_pair()
    draws = 4000
    tree = from_pyro_svi(model, guide, images, draws)
    z, statistics = tree["posterior"]["z"].isel(chain=0), tree["sample_stats"]
    standard_error = (statistics["z_variance"] / draws) ** 0.5
    assert (abs(z.mean("draw") - statistics["z_mean"]) < 5 * standard_error).all()
    np.testing.assert_allclose(z.var("draw", ddof=1), statistics["z_variance"], rtol=5 * (2 / draws) ** 0.5)


def test_one_seed_one_tree(kind, images):
    pair = make_pair(kind)
    first = from_pyro_svi(*pair, images, DRAWS, seed=3)
    torch.manual_seed(8)
    torch.rand(3)
    second = from_pyro_svi(*pair, images, DRAWS, seed=3)
    for name, group in first.children.items():
        assert group.to_dataset().identical(second[name].to_dataset()), name
    other = from_pyro_svi(*pair, images, DRAWS, seed=4)
    assert not np.isclose(first["posterior"]["z"], other["posterior"]["z"]).any()


def test_batch_size_changes_draws_only(kind, images):
    """Draws depend on how images are split, for they share one stream; what is exact does not."""
    pair = make_pair(kind)
    whole = from_pyro_svi(*pair, images, DRAWS)
    for batch_size in (1, DRAWS * 3, 10_000):
        parts = from_pyro_svi(*pair, images, DRAWS, batch_size=batch_size)
        assert parts["posterior"]["z"].shape == whole["posterior"]["z"].shape
        for name in ("z_mean", "kl", *(["p"] if kind == "normal_gamma" else [])):
            np.testing.assert_allclose(parts["sample_stats"][name], whole["sample_stats"][name], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(parts["observed_data"]["x"], whole["observed_data"]["x"])


class Normalised(MLPEncoder):
    """With running statistics and dropout: what an unwary evaluation would change, and depend on."""

    def __init__(self) -> None:
        super().__init__(SHAPE, hidden=[16])
        self.norm, self.dropout = nn.BatchNorm1d(16), nn.Dropout(0.5)

    def forward(self, images):
        features = super().forward(images)
        return self.dropout(self.norm(features.flatten(0, -2)).reshape(features.shape))


def test_nothing_changes(images):
    model, _ = make_pair()
    guide = MeanFieldNormal(Normalised(), LATENTS)
    model.train()
    guide.train().encoder.norm.eval()
    parts = (model, guide)
    modes = [module.training for part in parts for module in part.modules()]
    before = [(value, value.clone()) for part in parts for value in part.state_dict().values()]
    torch.manual_seed(3)
    state, settings = torch.get_rng_state(), pyro.settings.get()
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state that must stay
    tree = from_pyro_svi(model, guide, images, DRAWS, posterior_predictive=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002
    assert pyro.settings.get() == settings
    assert torch.is_grad_enabled()
    assert not pyro.get_param_store().keys()
    assert [module.training for part in parts for module in part.modules()] == modes
    assert all(torch.equal(now, then) for now, then in before)
    assert all(p.grad is None and p.requires_grad for part in parts for p in part.parameters())
    again = from_pyro_svi(model.eval(), guide.eval(), images, DRAWS)  # the modes did not matter either
    np.testing.assert_array_equal(again["sample_stats"]["z_mean"], tree["sample_stats"]["z_mean"])


def test_modes_are_put_back_after_an_error(images):
    model, guide = make_pair()
    model.train()
    with pytest.raises(UserError):
        from_pyro_svi(model, guide, images * float("nan"))

    class Broken(MLPEncoder):
        def forward(self, images):  # noqa: ARG002
            raise ZeroDivisionError

    guide.encoder = Broken(SHAPE, hidden=[16])
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        from_pyro_svi(model, guide, images)
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_sample_dims(kind, images):
    pair = make_pair(kind)
    chains, samples = from_pyro_svi(*pair, images, DRAWS), from_pyro_svi(*pair, images, DRAWS, sample_dims=("sample",))
    assert samples["posterior"]["z"].dims == ("sample", "image", "latent")
    assert samples["sample_stats"]["log_q"].dims == ("sample", "image")
    assert samples["log_likelihood"]["x"].dims == ("sample", "image")
    np.testing.assert_array_equal(samples["posterior"]["z"], chains["posterior"]["z"][0])


def test_posterior_predictive(images):
    model, guide = make_pair()
    tree = from_pyro_svi(model, guide, images, 300, posterior_predictive=True)
    x = tree["posterior_predictive"]["x"]
    assert x.dims == ("chain", "draw", "image", "channel", "row", "column")
    z = torch.from_numpy(tree["posterior"]["z"].values[0])
    with torch.no_grad():
        mean = model.likelihood(z).mean.mean(0)
    np.testing.assert_allclose(x.mean(("chain", "draw")), mean, atol=5.5 * 0.3 / 300**0.5)
    binary = VAE(NormalPrior(LATENTS), BernoulliLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[16])))
    tree = from_pyro_svi(binary, guide, images.round(), DRAWS, posterior_predictive=True)
    assert set(np.unique(tree["posterior_predictive"]["x"])) == {0.0, 1.0}


def test_factors_and_coords_survive_subsetting():
    data = sprites(6, seed=2, image_size=32)
    model, guide = make_pair(shape=data.image_shape)
    coords = {
        "image": [f"sprite {i}" for i in range(6)],
        "latent": ["a", "b", "c"],
        "channel": ["red", "green", "blue"],
    }
    tree = from_pyro_svi(model, guide, data.images[:], DRAWS, constant_data=data.factors, coords=coords)
    assert set(tree["constant_data"].data_vars) == set(data.factors.data_vars)
    for name, factor in data.factors.data_vars.items():
        assert tree["constant_data"][name].attrs == factor.attrs
    few = tree.isel(image=slice(2, 5))
    for name, group in few.children.items():
        if name == "prior":  # p(z) knows no images
            assert group["z"].dims == ("chain", "draw", "latent")
            continue
        assert group["image"].values.tolist() == ["sprite 2", "sprite 3", "sprite 4"], name
    assert few["constant_data"]["shape"].values.tolist() == data.factors["shape"].values[2:5].tolist()
    np.testing.assert_array_equal(few["observed_data"]["x"], data.images[2:5])
    assert few["posterior"]["z"].sel(latent="b").dims == ("chain", "draw", "image")
    assert few["observed_data"]["channel"].values.tolist() == ["red", "green", "blue"]
    assert few["sample_stats"]["z_variance"].attrs["prior_variance"] == pytest.approx(1.0)


def test_constant_data_of_a_subset_keeps_its_order():
    data = sprites(9, seed=2, image_size=32).subset([8, 1, 4])
    tree = from_pyro_svi(*make_pair(shape=data.image_shape), data.images[:], 2, constant_data=data.factors)
    for name, factor in data.factors.data_vars.items():
        np.testing.assert_array_equal(tree["constant_data"][name], factor)
    for group in ("constant_data", "posterior", "sample_stats", "observed_data"):
        assert tree[group]["image"].values.tolist() == data.factors["image"].values.tolist()


@pytest.mark.filterwarnings(
    "ignore:Estimated shape parameter of Pareto"
)  # q of an untrained guide is far from p(z | x)
def test_arviz_runs_on_it(kind, images):
    tree = from_pyro_svi(*make_pair(kind), images[:2], 200)
    summary = az.summary(tree, var_names=["z"])
    assert len(summary) == 2 * LATENTS
    ess = az.ess(tree)
    assert ess["z"].shape == (2, LATENTS)
    assert (ess["z"] > 50).all()  # independent draws
    assert az.loo(tree).elpd < 0


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_arviz_reads_the_sensitivity_to_the_prior(kind, images):
    tree = from_pyro_svi(*make_pair(kind), images[:1], 200)
    summary = az.psense_summary(tree)
    assert len(summary) == LATENTS * (1 + (kind == "normal_gamma"))


def test_log_prior_is_the_closed_form_of_each_site(images):
    tree = from_pyro_svi(*make_pair("normal_gamma"), images, DRAWS)
    precision, z = (torch.from_numpy(tree["posterior"][name].values) for name in ("precision", "z"))
    expected = {
        "precision": dist.Gamma(8.25, 3.62).log_prob(precision).sum(-1),
        "z": dist.Normal(0.0, precision**-0.5).log_prob(z).sum(-1),
    }
    for name, terms in expected.items():
        np.testing.assert_allclose(tree["log_prior"][name], terms, rtol=1e-4, atol=1e-4)  # float32 sums
    total = tree["log_prior"]["z"] + tree["log_prior"]["precision"] + tree["log_likelihood"]["x"]
    np.testing.assert_allclose(tree["sample_stats"]["log_p"], total, rtol=1e-5)


# A user's own programs


def test_a_plain_function_pair_exports(images):
    """y = z + noise with a guide that is not the posterior: every number is a closed form."""

    def model(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            scale = pyro.sample("scale", dist.Gamma(2.0, 1.0))
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 2.0).to_event(1), infer={"event_dims": ["feature"]})
            mean = z.sum(-1)[..., None, None, None] + 0 * scale[..., None, None, None]
            pyro.sample("y", dist.Normal(mean.expand(*mean.shape[:-3], 1, 1, 3), 0.5).to_event(3), obs=images)

    def guide(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("scale", dist.LogNormal(images.mean((-3, -2, -1)), 0.5))
            loc = images.flatten(-3)[..., :2]
            pyro.sample("z", dist.Normal(loc, 0.7).to_event(1), infer={"event_dims": ["feature"]})

    x = images[..., :1, :3]
    tree = from_pyro_svi(model, guide, x, 50, coords={"feature": ["left", "right"]})
    assert tree["posterior"]["z"].dims == ("chain", "draw", "image", "feature")
    assert tree["posterior"]["scale"].dims == ("chain", "draw", "image")
    assert tree["posterior"]["feature"].values.tolist() == ["left", "right"]
    assert tree["observed_data"]["y"].dims == ("image", "y_dim_0", "y_dim_1", "y_dim_2")
    statistics = tree["sample_stats"]
    loc = x.flatten(1)[:, :2].numpy()
    np.testing.assert_allclose(statistics["z_mean"], loc, rtol=1e-5)
    np.testing.assert_allclose(statistics["z_variance"], np.full((IMAGES, 2), 0.49), rtol=1e-5)
    kl = [name for name in statistics.data_vars if statistics[name].dims == ("image", "feature") and "kl" in name]
    np.testing.assert_allclose(statistics[kl[0]], np.log(2 / 0.7) + (0.49 + loc**2) / 8 - 0.5, rtol=1e-4)
    assert statistics["z_variance"].attrs["prior_variance"] == pytest.approx(4.0)
    assert statistics["scale_variance"].attrs["prior_variance"] == pytest.approx(2.0)
    with pytest.raises(KeyError):
        tree["constant_data"]


def test_sites_with_several_dims_keep_theirs(images):
    """Rates of sites with other event dims stand apart, each with its unit."""

    def model(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            top = pyro.sample("z_1", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"event_dims": ["top"]})
            low = dist.Normal(top.sum(-1)[..., None, None].expand(*top.shape[:-1], 3, 2), 1.0).to_event(2)
            pyro.sample("z_2", low, infer={"event_dims": ["unit", "part"]})
            pyro.sample("x", dist.Normal(torch.zeros(SHAPE), 1.0).to_event(3), obs=images)

    def guide(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            loc = images[..., 0, 0, :2]
            pyro.sample("z_1", dist.Normal(loc, 0.5).to_event(1), infer={"event_dims": ["top"]})
            low = dist.Normal(torch.zeros(3, 2), 0.5).to_event(2)
            pyro.sample("z_2", low, infer={"event_dims": ["unit", "part"]})

    tree = from_pyro_svi(model, guide, images, 600)
    statistics = tree["sample_stats"]
    assert statistics["kl_z_1"].dims == ("image", "top")
    assert statistics["kl_z_2"].dims == ("image", "unit", "part")
    assert statistics["kl_z_1"].attrs["units"] == "nats"
    loc = images[:, 0, 0, :2]
    expected = np.log(2) + ((0.25 + loc.sum(1) ** 2 + 2 * 0.25) / 2 - 0.5)  # E over the top draws
    np.testing.assert_allclose(statistics["kl_z_2"].mean(("unit", "part")), expected, rtol=0.15)
    np.testing.assert_allclose(statistics["z_2_variance"], np.full((IMAGES, 3, 2), 0.25), rtol=1e-5)
    assert statistics["z_2_variance"].attrs["prior_variance"] == pytest.approx(3.0, rel=0.1)  # 1 + Var(sum of two)


def test_a_guide_trained_in_the_parameter_store_is_the_one_exported(images):
    """Plain Pyro: parameters in the global store, which the export must read and leave."""

    def model(images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"event_dims": ["latent"]})
            pyro.sample("x", dist.Normal(torch.zeros(SHAPE), 1.0).to_event(3), obs=images)

    def guide(images):
        loc = pyro.param("loc", torch.full((2,), 5.0))
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("z", dist.Normal(loc, scale).to_event(1), infer={"event_dims": ["latent"]})

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.3}), Trace_ELBO())
    for _ in range(10):
        svi.step(images)
    store = pyro.get_param_store()
    loc = store["loc"].detach().clone()
    assert (loc < 4).all()
    try:
        tree = from_pyro_svi(model, guide, images, DRAWS)
        np.testing.assert_allclose(tree["sample_stats"]["z_mean"], loc.expand(IMAGES, 2), rtol=1e-5)
        assert set(store.keys()) == {"loc", "scale"}
        assert torch.equal(store["loc"], loc)
        svi.step(images)  # training goes on as if nothing had happened
        assert not torch.equal(store["loc"], loc)
    finally:
        pyro.clear_param_store()


class Tutorial(nn.Module):
    """Model and guide as methods of one module, as in Pyro's own VAE tutorial."""

    def __init__(self, *, leading: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
        self.decoder, self.leading = nn.Linear(2, 64), leading

    def model(self, images):
        with pyro.plate("image", images.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            means = self.decoder(z) if self.leading else self.decoder(z.view(-1, 2))
            pyro.sample("x", dist.Normal(means, 1.0).to_event(1), obs=images.flatten(1))

    def guide(self, images):
        with pyro.plate("image", images.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(self.encoder(images.flatten(1)), 1.0).to_event(1))


def test_methods_of_a_module_are_evaluated(images):
    module = Tutorial()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    tree = from_pyro_svi(module.model, module.guide, images, DRAWS)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training for part in module.modules())
    with torch.no_grad():
        loc = module.eval().encoder(images.flatten(1))
    np.testing.assert_allclose(tree["sample_stats"]["z_mean"], loc, rtol=1e-5, atol=1e-6)


# Users' mistakes


def test_programs_that_take_no_draws_end_in_one_line(images):
    module = Tutorial(leading=False)
    with pytest.raises(UserError, match=r"must take leading dims \(draws, image\)") as caught:
        from_pyro_svi(module.model, module.guide, images, DRAWS)
    assert "\n" not in str(caught.value)
    tree = from_pyro_svi(module.model, module.guide, num_samples=DRAWS, model_args=(images,))  # as it says
    assert tree["posterior"]["z"].shape == (1, DRAWS, IMAGES, 2)


def test_a_guide_that_was_never_trained_ends_in_one_line(images):
    def guide(images):
        loc = pyro.param("loc", torch.full((LATENTS,), 5.0))
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))

    with pytest.raises(UserError, match="'loc' were never trained") as caught:
        from_pyro_svi(make_pair()[0], guide, images, DRAWS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 2.5}, "num_samples"),
        ({"batch_size": 0}, "batch_size"),
        ({"sample_dims": ("draw", "chain")}, "sample_dims"),
        ({"constant_data": xr.Dataset({"hue": ("image", [1, 2])})}, "2 images"),
        ({"coords": {"latent": ["a", "b"]}}, "latent"),
        ({"coords": {"latnet": ["a", "b", "c"]}}, "latnet"),
        ({"seed": 1.5}, "seed=1.5: expected a whole number"),
        ({"seed": True}, "seed=True: expected a whole number"),
        ({"dims": {"z": ["code"]}}, "dims names 'z'; .*dims names constant_data alone"),
    ],
    ids=str,
)
def test_mistakes_end_in_one_line(arguments, expected, images):
    with pytest.raises(UserError, match=expected) as caught:
        from_pyro_svi(*make_pair(), images, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", [lambda x: x[:0], lambda x: x / 0, lambda x: x[:, 0], lambda x: x[..., :4]])
def test_images_that_do_not_fit_end_in_one_line(spoil, images):
    with pytest.raises(UserError, match="images") as caught:
        from_pyro_svi(*make_pair(), spoil(images))
    assert "\n" not in str(caught.value)


def test_a_pair_that_does_not_fit_ends_in_one_line(images):
    with pytest.raises(UserError, match="precision") as caught:
        from_pyro_svi(make_pair("normal_gamma")[0], make_pair()[1], images)
    assert "\n" not in str(caught.value)


def test_an_auxiliary_site_counts_as_the_guides_alone(images):
    """log q grows by the auxiliary site's, log p does not; both estimators and the export take it."""
    model, guide = make_pair()

    class WithAuxiliary(Program):
        def __init__(self):
            super().__init__()
            self.guide = guide

        def forward(self, images):
            with pyro.plate("auxiliary", len(images), dim=-1):
                pyro.sample("u", dist.Normal(torch.zeros(len(images)), 1.0), infer={"is_auxiliary": True})
            return self.guide(images)

    tree = from_pyro_svi(model, WithAuxiliary(), images, DRAWS)
    u = torch.from_numpy(tree["posterior"]["u"].values)
    z = tree["posterior"]["z"]
    with torch.no_grad():
        log_q = guide.posterior(images).log_prob(torch.from_numpy(z.values))
    expected = log_q + dist.Normal(0.0, 1.0).log_prob(u)
    np.testing.assert_allclose(tree["sample_stats"]["log_q"], expected, rtol=1e-4, atol=1e-4)


def test_scales_of_the_likelihood_reach_the_statistics(images):
    model, guide = make_pair()

    class Tempered(Program):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images=None, **arguments):
            with pyro.poutine.scale(scale=0.5):
                return self.model(images, **arguments)

    plain, half = (from_pyro_svi(m, guide, images, DRAWS) for m in (model, Tempered()))
    xr.testing.assert_allclose(half["log_likelihood"]["x"], 0.5 * plain["log_likelihood"]["x"], rtol=1e-4)


def test_prior_draws_have_the_priors_moments(images):
    """1 024 draws × 3 latents of Gamma(8.25, 3.62): mean within 5 standard errors."""
    precision = from_pyro_svi(*make_pair("normal_gamma"), images, 1)["prior"]["precision"].values
    assert precision.shape == (1, 1024, LATENTS)
    assert abs(precision.mean() - 8.25 / 3.62) < 5 * 8.25**0.5 / 3.62 / precision.size**0.5


def test_moments_without_a_closed_form_do_not_hang_on_the_draws(build):
    """Of a flow: from 256 draws a site, whatever num_samples; their own error is about 10 %."""
    pair = build("normal")
    guide = InverseAutoregressiveGuide(pair.guide.encoder, 3, hidden=[8])
    one, many = (from_pyro_svi(pair.model, guide, pair.images, draws)["sample_stats"] for draws in (1, 2000))
    np.testing.assert_allclose(one["z_variance"], many["z_variance"], rtol=0.6)
    np.testing.assert_allclose(one["z_variance"].mean(), many["z_variance"].mean(), rtol=0.1)
    np.testing.assert_allclose(one["z_mean"], many["z_mean"], atol=0.4)
