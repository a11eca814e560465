"""Auxiliary sites that a guide observes, factors among them, are part of log q, image by image."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormalMessenger

from ppvae import BetaELBO, from_pyro_svi, log_marginal

X = torch.linspace(-1.0, 1.0, 5).reshape(5, 1, 1, 1)


def model(x):
    with pyro.plate("image", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z[..., None, None], 1.0).to_event(3), obs=x)


def guide(x):
    """The posterior N(x/2, 1/2), its density spread over a site and a factor; and an observation of log density 0."""
    flat = x.flatten(1)
    with pyro.plate("image", len(x), dim=-1):
        pyro.sample("seen", dist.Uniform(0.0, 1.0), obs=torch.full((len(x),), 0.5), infer={"is_auxiliary": True})
        noise = pyro.sample("noise", dist.Normal(torch.zeros(1), 1.0).to_event(1), infer={"is_auxiliary": True})
        z = flat / 2 + math.sqrt(0.5) * noise
        pyro.sample("z", dist.Delta(z, event_dim=1))
        pyro.factor("jacobian", torch.full((len(x),), 0.5 * math.log(2.0)), has_rsample=True)


def test_log_q_is_complete():
    """Exact, so that every log weight is the log evidence; without the factor it is 0.35 nats off."""
    evidence = dist.Normal(0.0, math.sqrt(2.0)).log_prob(X).flatten()
    tree = from_pyro_svi(model, guide, X, 6)["sample_stats"]
    np.testing.assert_allclose(tree["log_p"] - tree["log_q"], np.tile(evidence, (1, 6, 1)), rtol=1e-4)
    np.testing.assert_allclose(tree["elbo"], evidence, rtol=1e-4)
    np.testing.assert_allclose(log_marginal(model, guide, X, 6)["log_marginal"], evidence, rtol=1e-4)
    short = from_pyro_svi(model, guide, X, 6, log_likelihood=False)["sample_stats"]
    np.testing.assert_allclose(short["log_q"], tree["log_q"], rtol=1e-4)
    whole = from_pyro_svi(model, guide, model_args=(X,), num_samples=30)["sample_stats"]
    np.testing.assert_allclose(whole["log_p"] - whole["log_q"], float(evidence.sum()), rtol=1e-4)


@pytest.mark.parametrize("program", [guide, AutoNormalMessenger(model)], ids=["observing", "messenger"])
def test_our_objective_is_pyros(program):
    with pyro.get_param_store().scope():
        Trace_ELBO().loss(model, program, X)  # a messenger's parameters begin here
        torch.manual_seed(1)
        ours = BetaELBO(estimator="trace")(model, program, X)
        torch.manual_seed(1)
        pyros = Trace_ELBO().loss(model, program, X)
    assert float(ours.detach()) == pytest.approx(pyros / len(X), rel=1e-5)
