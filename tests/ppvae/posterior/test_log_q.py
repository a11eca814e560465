"""log q counts what Pyro's ELBO counts, and nothing that the model leaves out: E[log p − log q] is the ELBO."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoHierarchicalNormalMessenger,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalMessenger,
)
from scipy import stats

from ppvae import UserError, from_pyro_svi

X = torch.tensor([1.0, 2.0, 0.5, -0.3])
DRAWS = 400


@pytest.fixture(autouse=True)
def _own_parameters():
    with pyro.get_param_store().scope():
        yield


def trained(model, guide, *args, steps=30, lr=0.02):
    svi = SVI(model, guide, pyro.optim.Adam({"lr": lr}), Trace_ELBO())
    for _ in range(steps):
        svi.step(*args)
    return svi


def ratios(model, guide, *args):
    statistics = from_pyro_svi(model, guide, model_args=args, num_samples=DRAWS, prior=False)["sample_stats"]
    return (statistics["log_p"] - statistics["log_q"]).values.ravel()


def model(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    pyro.factor("penalty", -(loc**2))
    with pyro.plate("point", len(x)):
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        mean = pyro.deterministic("mean", loc + shift, event_dim=0)
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def observing(x):
    """Auxiliary sites that are drawn, observed, or a factor: all are weighed."""
    noise = pyro.sample("noise", dist.Normal(0.0, 0.3), infer={"is_auxiliary": True})
    pyro.sample("seen", dist.Normal(noise, 1.0), obs=torch.tensor(0.7), infer={"is_auxiliary": True})
    loc = pyro.sample("loc", dist.Normal(noise, 0.5))
    pyro.factor("penalty", 0.1 * loc, has_rsample=True)  # another than the model's, of the same name
    with pyro.plate("point", len(x)):
        pyro.sample("shift", dist.Normal(x / 2, 0.7))


def running_the_model(x):
    """By its own hand, as a messenger does."""
    with poutine.block(hide_fn=lambda site: site["name"] == "penalty"), _Drawn():
        model(x)


class _Drawn(poutine.messenger.Messenger):
    def _pyro_sample(self, site):
        if site["type"] == "sample" and site["name"] in ("loc", "shift"):
            site["fn"] = dist.Normal(torch.full(site["fn"].batch_shape, 0.4), 0.6)


@pytest.mark.parametrize("make", [AutoNormalMessenger, AutoHierarchicalNormalMessenger, lambda _: observing])
def test_log_p_less_log_q_is_the_elbo(make):
    guide = make(model)
    svi = trained(model, guide, X)
    ratio = ratios(model, guide, X)
    elbo = -np.array([svi.evaluate_loss(X) for _ in range(DRAWS)])
    error = ((ratio.var() + elbo.var()) / DRAWS) ** 0.5
    assert abs(ratio.mean() - elbo.mean()) < 5 * error < 2  # the observations' log densities are 6 nats and more


def test_a_guide_that_meets_the_observations_does_not_weigh_them():
    tree = from_pyro_svi(model, running_the_model, model_args=(X,), num_samples=20, prior=False)
    posterior = tree["posterior"]
    expected = stats.norm.logpdf(posterior["loc"], 0.4, 0.6) + stats.norm.logpdf(posterior["shift"], 0.4, 0.6).sum(-1)
    np.testing.assert_allclose(tree["sample_stats"]["log_q"], expected, rtol=1e-4)


SEEN = torch.tensor([True, False, True, True])


def imputed(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    with pyro.plate("point", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x, obs_mask=SEEN)


def masked_pairs(x):
    """A latent of each point, masked together with its observation."""
    loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    with pyro.plate("point", len(x)), poutine.mask(mask=SEEN):
        mean = pyro.sample("mean", dist.Normal(loc, 0.6))
        pyro.sample("x", dist.Normal(mean, 0.8), obs=x)


def written(masked):
    def guide(x):
        pyro.sample("loc", dist.Normal(0.7, 0.8))
        with pyro.plate("point", len(x)), poutine.mask(mask=~SEEN if masked else True):
            pyro.sample("x_unobserved", dist.Normal(0.5, 1.7))

    return guide


@pytest.mark.parametrize(
    ("program", "make"),
    [
        (imputed, AutoNormal),
        (imputed, AutoNormalMessenger),
        (imputed, AutoDelta),
        (imputed, lambda _: written(masked=True)),
        (imputed, lambda _: written(masked=False)),
        (masked_pairs, AutoNormal),
        (masked_pairs, AutoNormalMessenger),
    ],
    ids=["normal", "messenger", "point", "masked", "unmasked", "normal of pairs", "messenger of pairs"],
)
def test_masked_latents_leave_a_bound_of_the_evidence(program, make):
    """log N(seen; 0, I + 4) in both models. By 100 steps Pyro's own objective has widened what it does not see, and its
    ELBO is nats above the evidence."""
    guide = make(program)
    trained(program, guide, X, steps=100, lr=0.1)
    seen = X[SEEN].numpy()
    evidence = stats.multivariate_normal.logpdf(seen, np.zeros(3), np.eye(3) + 4)
    ratio = ratios(program, guide, X)
    if make is not AutoDelta:  # whose log q is no density's
        assert ratio.mean() < evidence + 5 * ratio.std() / DRAWS**0.5 + 1e-3
        assert abs(np.logaddexp.reduce(ratio) - np.log(DRAWS) - evidence) < 0.7  # so all of it is counted


@pytest.mark.parametrize("make", [AutoDiagonalNormal, AutoMultivariateNormal])
def test_a_masked_latent_drawn_with_others_is_refused(make):
    guide = make(imputed)
    trained(imputed, guide, X, steps=1)
    with pytest.raises(UserError, match="'x_unobserved' is masked in the model") as caught:
        from_pyro_svi(imputed, guide, model_args=(X,), num_samples=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most", [1, 1024])
def test_a_latent_below_an_enumerated_site(most):
    """p(z, c, y) with c summed out: c given z alone, as y does not see it, and log p of the whole."""
    locations, y = torch.tensor([-2.0, 2.0]), torch.linspace(-1.0, 1.0, 6)

    def model():
        with pyro.plate("data", 6):
            c = pyro.sample("c", dist.Categorical(torch.tensor([0.25, 0.75])), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(locations[c], 1.0))
            pyro.sample("y", dist.Normal(z, 0.5), obs=y)

    def guide():
        with pyro.plate("data", 6):
            pyro.sample("z", dist.Normal(pyro.param("l", torch.zeros(6)), 0.5))

    SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), TraceEnum_ELBO(max_plate_nesting=1)).step()
    tree = from_pyro_svi(model, guide, num_samples=80, batch_size=most, posterior_predictive=True)
    z, c = (tree["posterior"][name].values[0] for name in ("z", "c"))
    assert tree["posterior"]["c"].dims == ("chain", "draw", "data")
    likelihood = stats.norm.logpdf(y.numpy(), z, 0.5)
    joint = np.log([0.25, 0.75]) + stats.norm.logpdf(z[..., None], locations.numpy(), 1.0)
    log_p = np.take_along_axis(joint, c[..., None], -1)[..., 0] + likelihood
    np.testing.assert_allclose(tree["sample_stats"]["log_p"][0], log_p.sum(1), rtol=1e-4)
    marginal = np.logaddexp(joint[..., 0], joint[..., 1])
    log_q = stats.norm.logpdf(z, pyro.param("l").detach().numpy(), 0.5)
    ratio = tree["sample_stats"]["log_p"][0] - tree["sample_stats"]["log_q"][0]
    np.testing.assert_allclose(ratio, (marginal + likelihood - log_q).sum(1), rtol=1e-4, atol=1e-4)
    second = np.exp(joint[..., 1] - marginal)
    error = np.sqrt((second * (1 - second)).mean(0) / 80)
    assert (np.abs((c - second).mean(0)) < 5 * error).all()


def empty(*args):
    """Maximum likelihood."""


def test_an_empty_guide():
    y = torch.randn(5)

    def model():
        with pyro.plate("data", 5):
            mean = pyro.deterministic("mean", pyro.param("m", torch.tensor(0.2)))
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    trained(model, empty, steps=1)
    tree = from_pyro_svi(model, empty, num_samples=20, posterior_predictive=True)
    expected = stats.norm.logpdf(y.numpy(), pyro.param("m").item())
    np.testing.assert_allclose(tree["sample_stats"]["log_p"], np.full((1, 20), expected.sum()), rtol=1e-5)
    assert (tree["sample_stats"]["log_q"] == 0).all()
    np.testing.assert_allclose(tree["log_likelihood"]["y"][0], np.tile(expected, (20, 1)), rtol=1e-5)
    assert set(tree["posterior"].data_vars) == {"mean"}
    assert len(np.unique(tree["posterior_predictive"]["y"])) == 100


def test_an_empty_guide_whose_model_sums_all_out():
    """log p − log q is the evidence, whatever was drawn."""
    x = torch.tensor([-1.0, 0.3])

    def model(x):
        with pyro.plate("point", 2):
            c = pyro.sample("c", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(c, 1.0), obs=x)

    evidence = np.log(0.7 * stats.norm.pdf(x) + 0.3 * stats.norm.pdf(x, 1)).sum()
    for draws in (3, 40):
        statistics = from_pyro_svi(model, empty, model_args=(x,), num_samples=draws)["sample_stats"]
        np.testing.assert_allclose(statistics["log_p"] - statistics["log_q"], evidence, rtol=1e-5)
