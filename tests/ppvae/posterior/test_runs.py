"""All draws at once are what each would be on its own, and programs that do not allow it are run one by one."""

import random
from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, config_enumerate
from pyro.infer.autoguide import (
    AutoDelta,
    AutoGuideList,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalMessenger,
)
from scipy import stats

from ppvae import from_pyro_svi

DRAWS = 60
Y = torch.tensor([[0.5, -1.0], [2.0, 0.3], [1.0, 1.5]])


@pytest.fixture(autouse=True)
def _own_parameters():
    with pyro.get_param_store().scope():
        yield


def nested(y):
    """Two plates, a site between them, an event, numbers of the program's own and a site that nothing depends on."""
    mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
    pyro.sample("idle", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    region, school = pyro.plate("region", 3, dim=-2), pyro.plate("school", 2, dim=-1)
    with region:
        alpha = pyro.sample("alpha", dist.Normal(mu, 1.0))
    with school:
        beta = pyro.sample("beta", dist.Normal(0.0, scale))
    with region, school:
        mean = pyro.deterministic("mean", alpha + beta, event_dim=0)
        pyro.sample("y", dist.Normal(mean, scale), obs=y)


def written_guide(y):  # noqa: ARG001
    mu = pyro.sample("mu", dist.Normal(0.5, 0.3))
    pyro.sample("scale", dist.LogNormal(0.2, 0.1))
    pyro.sample("idle", dist.Normal(torch.ones(2), 0.5).to_event(1))
    with pyro.plate("region", 3, dim=-2):
        noise = pyro.sample("noise", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        pyro.sample("alpha", dist.Normal(mu + noise, 0.2))
    with pyro.plate("school", 2, dim=-1):
        pyro.sample("beta", dist.Normal(torch.tensor([0.0, 1.0]), 0.2))


def listed(model):
    guide = AutoGuideList(model)
    guide.append(AutoMultivariateNormal(poutine.block(model, hide=["mu"])))
    guide.append(AutoDelta(poutine.block(model, expose=["mu"])))
    return guide


GUIDES = {
    "written": lambda _: written_guide,
    "normal": AutoNormal,
    "multivariate": AutoMultivariateNormal,
    "low rank": AutoLowRankMultivariateNormal,
    "point": AutoDelta,
    "list": listed,
    "messenger": AutoNormalMessenger,
}


class Counted:
    """A program that counts its runs."""

    def __init__(self, program: Callable) -> None:
        self.program, self.runs = program, 0

    def __call__(self, *args):
        self.runs += 1
        return self.program(*args)


def given(program, values):
    """Log density of a program's run at these values."""
    return poutine.trace(poutine.condition(program, data=values)).get_trace


@pytest.mark.parametrize("name", GUIDES)
def test_draws_at_once_have_the_densities_of_draws_on_their_own(name):
    guide = GUIDES[name](nested)
    svi = SVI(nested, guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())
    for _ in range(20):
        svi.step(Y)
    model = Counted(nested)
    tree = from_pyro_svi(model, guide, model_args=(Y,), num_samples=DRAWS, posterior_predictive=True)
    assert model.runs < DRAWS
    posterior, statistics = tree["posterior"].to_dataset().isel(chain=0), tree["sample_stats"].to_dataset()
    for index in (0, 7, DRAWS - 1):
        one = {name: torch.from_numpy(v.values) for name, v in posterior.isel(draw=index).items() if name != "mean"}
        one["alpha"] = one["alpha"][:, None]
        log_p = given(nested, one)(Y).log_prob_sum()
        np.testing.assert_allclose(statistics["log_p"][0, index], log_p, rtol=1e-4)
        terms = given(nested, one)(Y).nodes["y"]["fn"].log_prob(Y)
        np.testing.assert_allclose(tree["log_likelihood"]["y"][0, index], terms, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(posterior["mean"], posterior["alpha"] + posterior["beta"], rtol=1e-5, atol=1e-5)
    ratio = (statistics["log_p"] - statistics["log_q"]).values.ravel()
    elbo = -np.array([svi.evaluate_loss(Y) for _ in range(DRAWS)])
    error = (ratio.var() + elbo.var()) ** 0.5 / DRAWS**0.5
    assert abs(ratio.mean() - elbo.mean()) < 5 * error + 1e-4 * abs(elbo.mean())
    points = {"point": {"mu", "scale", "idle", "alpha", "beta", "mean"}, "list": {"mu"}}.get(name, set())
    for group in ("posterior", "prior", "prior_predictive", "posterior_predictive"):  # no two draws share their noise
        for site, array in tree[group].data_vars.items():
            if group != "posterior" or site not in points:
                assert len(np.unique(array)) == array.size, (group, site)


def test_draws_at_once_are_distributed_as_draws_one_by_one():
    """Two-sample Kolmogorov-Smirnov of each entry, seven standard errors at these sizes: p > 1e-4 each."""
    options = {"model_args": (Y,), "num_samples": 100, "posterior_predictive": True, "pred_args": (None,)}
    once, singly = (from_pyro_svi(nested, written_guide, **options, batch_size=size) for size in (1024, 1))
    for group in ("posterior", "sample_stats", "log_prior", "prior", "posterior_predictive", "predictions"):
        for site, array in once[group].data_vars.items():
            other = singly[group][site]
            assert array.dims == other.dims
            assert array.dtype == other.dtype
            found = stats.ks_2samp(array.values[0].reshape(100, -1), other.values[0].reshape(100, -1), axis=0)
            assert (found.pvalue > 1e-4).all(), (group, site)


def test_predictions_at_once_for_other_plates():
    def model(x, y=None):
        slope = pyro.sample("slope", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("point", len(x)):
            offset = pyro.sample("offset", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal((x * slope).sum(-1) + offset, 1e-3), obs=y)

    def guide(x, y=None):  # noqa: ARG001
        pyro.sample("slope", dist.Normal(torch.ones(2), 0.1).to_event(1))
        with pyro.plate("point", len(x)):
            pyro.sample("offset", dist.Normal(3.0, 0.1))

    model, x, new = Counted(model), torch.randn(4, 2), torch.randn(7, 2)
    tree = from_pyro_svi(model, guide, model_args=(x, torch.zeros(4)), num_samples=DRAWS, pred_args=(new,), prior=False)
    assert model.runs < DRAWS
    predictions, slope = tree["predictions"], tree["posterior"]["slope"].values[0]
    assert predictions["y"].dims == ("chain", "draw", "point")
    expected = slope @ new.numpy().T + predictions["offset"].values[0]
    np.testing.assert_allclose(predictions["y"][0], expected, atol=6e-3)
    assert abs(float(predictions["offset"].mean())) < 5 / (7 * DRAWS) ** 0.5  # new points' offsets are the prior's


def mixed(x):
    """Its mean over draws would be taken for that of one."""
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(loc.mean(), 1.0).expand(x.shape).to_event(1), obs=x)


def indexed(x):
    """Its first entry is the first draw's."""
    loc = pyro.sample("loc", dist.Normal(torch.zeros(len(x)), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(loc[0], 1.0).expand(x.shape).to_event(1), obs=x)


def branching(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(loc if loc > 0 else -3.0 * loc, 1.0).expand(x.shape).to_event(1), obs=x)


def noisy(x):
    """Noise of its own, which all draws would share."""
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    pyro.deterministic("noise", torch.randn(()))
    pyro.sample("x", dist.Normal(loc, 1.0).expand([len(x)]).to_event(1), obs=x)


def random_numbers(x):
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    pyro.deterministic("noise", torch.tensor(random.random()))
    pyro.sample("x", dist.Normal(loc, 1.0).expand([len(x)]).to_event(1), obs=x)


def locations(x, *, event):
    shape = x.shape if event else ()
    pyro.sample("loc", dist.Normal(0.3, 0.5).expand(shape).to_event(len(shape)))


@pytest.mark.parametrize("program", [mixed, indexed, branching, noisy, random_numbers])
def test_programs_that_a_plate_would_mix_are_run_one_by_one(program):
    model, x = Counted(program), torch.tensor([0.5, 1.0])
    tree = from_pyro_svi(
        model, lambda x: locations(x, event=program is indexed), model_args=(x,), num_samples=20, prior=False
    )
    assert model.runs >= 20
    posterior = tree["posterior"].to_dataset().isel(chain=0)
    loc = posterior["loc"].values.reshape(20, -1)[:, 0]
    mean = np.where(loc > 0, loc, -3 * loc) if program is branching else loc
    expected = stats.norm.logpdf(x.numpy(), mean[:, None]).sum(1)
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], expected, rtol=1e-4)
    if "noise" in posterior:
        assert len(np.unique(posterior["noise"])) == 20


def test_summed_sites_at_once():
    """Responsibilities differ from draw to draw, and log p − log q is the marginal's, at once and singly."""
    x = torch.tensor([-2.0, 0.1, 2.5])

    @config_enumerate
    def model(x):
        with pyro.plate("component", 2):
            loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
        with pyro.plate("point", len(x)):
            assignment = pyro.sample("assignment", dist.Categorical(torch.tensor([0.3, 0.7])))
            mean = torch.where(assignment == 1, loc[..., 1:], loc[..., :1])
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x):  # noqa: ARG001
        with pyro.plate("component", 2):
            pyro.sample("loc", dist.Normal(torch.tensor([-1.0, 0.5]), 0.5))

    for draws, most in ((300, 1024), (30, 1)):
        counted = Counted(model)
        tree = from_pyro_svi(counted, guide, model_args=(x,), num_samples=draws, batch_size=most, prior=False)
        assert (counted.runs < draws) == (most > 1)
        loc, statistics = tree["posterior"]["loc"].values[0], tree["sample_stats"]
        joint = np.log([0.3, 0.7]) + stats.norm.logpdf(x.numpy()[:, None], loc[:, None])
        marginal = np.logaddexp(*np.moveaxis(joint, -1, 0)).sum(1) + stats.norm.logpdf(loc, 0, 3).sum(1)
        marginal = marginal - stats.norm.logpdf(loc, [-1.0, 0.5], 0.5).sum(1)
        np.testing.assert_allclose((statistics["log_p"] - statistics["log_q"])[0], marginal, rtol=1e-4, atol=1e-4)
        second = np.exp(joint[..., 1] - np.logaddexp(joint[..., 0], joint[..., 1]))
        residual = (tree["posterior"]["assignment"].values[0] - second).mean(0)
        assert (np.abs(residual) < 5 * np.sqrt((second * (1 - second)).mean(0) / draws)).all()
