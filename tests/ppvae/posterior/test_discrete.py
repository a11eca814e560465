"""Discrete sites: those of the guide as it draws them, those summed out from their exact posterior."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoNormal
from scipy import stats
from scipy.special import logsumexp

from ppvae import from_pyro_svi

POINTS = torch.tensor([-2.0, -1.5, 0.1, 1.0, 2.5])
DRAWS = 120


@pytest.fixture(autouse=True)
def _own_parameters():
    with pyro.get_param_store().scope():
        yield


def mixture(x):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    with pyro.plate("component", 2):
        loc = pyro.sample("loc", dist.Normal(0.0, 3.0))
    with pyro.plate("point", len(x)):
        assignment = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(loc[assignment], 1.0), obs=x)


def fixed_guide(x):  # noqa: ARG001
    """A point, so that one table of responsibilities holds for all draws; its log q is zero."""
    pyro.sample("weights", dist.Delta(torch.tensor([0.3, 0.7]), event_dim=1))
    with pyro.plate("component", 2):
        pyro.sample("loc", dist.Delta(torch.tensor([-1.0, 0.5])))


@pytest.mark.parametrize("model", [mixture, config_enumerate(mixture)], ids=["unmarked", "config_enumerate"])
def test_assignments_come_from_the_exact_responsibilities(model):
    tree = from_pyro_svi(model, fixed_guide, model_args=(POINTS,), num_samples=DRAWS, prior=False)
    assignment = tree["posterior"]["assignment"]
    assert assignment.dims == ("chain", "draw", "point")
    x = POINTS.numpy()[:, None]
    joint = np.log([0.3, 0.7]) + stats.norm.logpdf(x, [-1.0, 0.5])
    second = np.exp(joint[:, 1] - logsumexp(joint, 1))
    error = np.sqrt(second * (1 - second) / DRAWS)
    assert (np.abs(assignment.mean(("chain", "draw")) - second) < 5 * error).all()
    prior = stats.norm.logpdf([-1.0, 0.5], 0, 3).sum()  # the flat Dirichlet's density is one
    chosen = np.take_along_axis(joint, assignment.values[0].T, 1).sum(0)
    statistics = tree["sample_stats"]
    np.testing.assert_allclose(statistics["log_p"][0], chosen + prior, rtol=1e-4)
    # log p − log q is log p(x, weights, loc) − log q(weights, loc), whatever the assignment
    marginal = logsumexp(joint, 1).sum() + prior
    np.testing.assert_allclose(statistics["log_p"] - statistics["log_q"], marginal, rtol=1e-5)
    likelihood = stats.norm.logpdf(POINTS.numpy(), np.array([-1.0, 0.5])[assignment.values[0]])
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], likelihood, rtol=1e-4)


def test_a_trained_mixture():
    """Far clusters: every point's assignment is certain, and the locations are the clusters' shrunk means."""
    x = torch.cat([torch.full((6,), -5.0), torch.full((4,), 5.0)]) + torch.linspace(-0.5, 0.5, 10)
    model = config_enumerate(mixture)
    start = {"loc": torch.tensor([-4.0, 4.0]), "weights": torch.tensor([0.5, 0.5])}
    guide = AutoNormal(pyro.poutine.block(mixture, hide=["assignment"]), init_loc_fn=lambda site: start[site["name"]])
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), TraceEnum_ELBO())
    for _ in range(70):
        svi.step(x)
    tree = from_pyro_svi(model, guide, model_args=(x,), num_samples=20, posterior_predictive=True)
    assert set(tree["posterior"].data_vars) == {"weights", "loc", "assignment"}
    assert (tree["posterior"]["assignment"] == np.repeat([0, 1], [6, 4])).all()
    shrunk = [float(x[:6].sum()) / (6 + 1 / 9), float(x[6:].sum()) / (4 + 1 / 9)]
    np.testing.assert_allclose(tree["posterior"]["loc"].mean(("chain", "draw")), shrunk, atol=0.4)
    assert tree["posterior_predictive"]["x"].dims == ("chain", "draw", "point")
    assert (np.sign(tree["posterior_predictive"]["x"].mean("draw")) == np.sign(x.numpy())).all()


def test_a_chain_of_discrete_sites_by_enumeration():
    """A hidden Markov chain of three steps: pairs of states have the probabilities of all eight paths."""
    start, move = torch.tensor([0.6, 0.4]), torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    x = torch.tensor([0.2, 0.9, 0.4])

    def model(x):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.1))
        state = None
        for i in pyro.markov(range(3)):
            state = pyro.sample(f"state_{i}", dist.Categorical(start if state is None else move[state]))
            pyro.sample(f"x_{i}", dist.Normal(state.float(), scale), obs=x[i])

    def guide(x):  # noqa: ARG001
        pyro.sample("scale", dist.Delta(torch.tensor(1.0)))

    tree = from_pyro_svi(model, guide, model_args=(x,), num_samples=DRAWS, prior=False)
    states = np.stack([tree["posterior"][f"state_{i}"].values[0] for i in range(3)], -1)
    paths = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    prior = start.numpy()[paths[:, 0]] * move.numpy()[paths[:, 0], paths[:, 1]] * move.numpy()[paths[:, 1], paths[:, 2]]
    joint = prior * stats.norm.pdf(x.numpy(), paths).prod(1)
    expected = joint / joint.sum()
    found = (states[:, None] == paths).all(-1).mean(0)
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / DRAWS)).all()
    weight = tree["sample_stats"]["log_p"] - tree["sample_stats"]["log_q"]
    np.testing.assert_allclose(weight, np.log(joint.sum()) + stats.lognorm.logpdf(1, 0.1), rtol=1e-4)


def test_discrete_sites_of_the_guide_are_drawn_by_it():
    def model(x):
        with pyro.plate("point", len(x)):
            switch = pyro.sample("switch", dist.Bernoulli(0.5))
            pyro.sample("x", dist.Normal(switch, 1.0), obs=x)

    def guide(x):
        with pyro.plate("point", len(x)):
            pyro.sample("switch", dist.Bernoulli(torch.linspace(0.1, 0.9, 5)), infer={"enumerate": "parallel"})

    tree = from_pyro_svi(model, guide, model_args=(POINTS,), num_samples=DRAWS, prior=False)
    expected = np.linspace(0.1, 0.9, 5)
    found = tree["posterior"]["switch"].mean(("chain", "draw"))
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / DRAWS)).all()
    log_q = np.log(np.where(tree["posterior"]["switch"] == 1, expected, 1 - expected)).sum(-1)
    np.testing.assert_allclose(tree["sample_stats"]["log_q"], log_q, rtol=1e-4)
