"""A plate of images that holds a batch of a larger data set gives nats an image, and other subsampling is refused."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import (
    BetaELBO,
    Program,
    UserError,
    check_pair,
    examine,
    fit,
    from_pyro_svi,
    log_marginal,
)
from ppvae.diagnostics import diagnose

X = torch.linspace(-1.0, 2.0, 12).reshape(12, 1, 1, 1)
EVIDENCE = dist.Normal(0.0, math.sqrt(2.0)).log_prob(X).flatten()  # z ~ N(0, 1), x | z ~ N(z, 1)
KL = 0.5 * (0.5 + X.flatten() ** 2 / 4 - 1 + math.log(2.0))  # of the posterior N(x/2, 1/2)


class Model(Program):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        with pyro.plate("image", self.size, subsample_size=len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1), infer={"event_dims": ["latent"]})
            mean = (self.weight * z)[..., None, None]
            pyro.sample(
                "x", dist.Normal(mean, 1.0).to_event(3), obs=x, infer={"event_dims": ["channel", "row", "column"]}
            )


class Guide(Program):
    """The posterior, so that every draw's log weight is the log evidence."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x):
        with pyro.plate("image", self.size, subsample_size=len(x), dim=-1):
            pyro.sample(
                "z", dist.Normal(x.flatten(1) / 2, math.sqrt(0.5)).to_event(1), infer={"event_dims": ["latent"]}
            )


@pytest.fixture(params=[12, 100])
def pair(request) -> tuple[Model, Guide]:
    return Model(request.param), Guide(request.param)


def test_every_number_is_of_each_image(pair):
    check_pair(*pair, X, BetaELBO())
    found = log_marginal(*pair, X, 10, batch_size=40)  # in batches of four
    np.testing.assert_allclose(found["log_marginal"], EVIDENCE, rtol=1e-5)
    np.testing.assert_allclose(found["elbo"], EVIDENCE, rtol=1e-5)
    tree = from_pyro_svi(*pair, X, 6, batch_size=30)
    statistics = tree["sample_stats"]
    np.testing.assert_allclose(statistics["log_p"] - statistics["log_q"], np.tile(EVIDENCE, (1, 6, 1)), rtol=1e-4)
    np.testing.assert_allclose(statistics["kl"][:, 0], KL, rtol=1e-4)
    z = tree["posterior"]["z"].values[..., 0]
    np.testing.assert_allclose(tree["log_prior"]["z"], dist.Normal(0.0, 1.0).log_prob(torch.tensor(z)), rtol=1e-4)
    latents = from_pyro_svi(*pair, X, 6, log_likelihood=False)["sample_stats"]
    assert float(abs(latents["log_q"]).max()) < 8  # of one image, not of eight


def test_training_reports_nats_an_image(pair):
    history = fit(*pair, X, epochs=1, batch_size=4, learning_rate=1e-12, compile=False, progress=False)
    np.testing.assert_allclose(history["rate"], KL.mean(), rtol=1e-4)


def test_it_is_examined_as_a_whole_one_is():
    found = [diagnose(examine(Model(size), Guide(size), X.repeat(4, 1, 1, 1), num_samples=30)) for size in (300, 1000)]
    for test in ("tightness", "active latents"):
        whole, batch = (one["statistic"].sel(test=test).item() for one in found)
        np.testing.assert_allclose(whole, batch, atol=1e-4)


def inner(x, observed=None):
    """A plate of pixels of which each run sees two."""
    with pyro.plate("image", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        if observed is not None:
            with pyro.plate("row", 6, subsample_size=2, dim=-2) as index:
                pyro.sample("x", dist.Normal(z[..., 0], 1.0), obs=observed.flatten(1).T[index])


@pytest.mark.parametrize(
    "call",
    [
        check_pair,
        log_marginal,
        from_pyro_svi,
        examine,
        lambda model, guide, x: from_pyro_svi(model, guide, model_args=(x,), num_samples=2),
        lambda model, guide, x: fit(Wrapped(model), Wrapped(guide), x, epochs=1, progress=False),
    ],
    ids=["check_pair", "log_marginal", "from_pyro_svi", "examine", "from_pyro_svi of any pair", "fit"],
)
def test_other_plates_that_subsample_are_refused_everywhere_alike(call):
    with pytest.raises(UserError, match="plate 'row' subsamples 2 of 6") as caught:
        call(lambda x: inner(x, x), inner, torch.rand(30, 1, 6, 1))
    assert "\n" not in str(caught.value)


class Wrapped(Program):
    def __init__(self, program) -> None:
        super().__init__()
        self.program, self.scale = program, nn.Parameter(torch.ones(()))

    def forward(self, x):
        self.program(x)
