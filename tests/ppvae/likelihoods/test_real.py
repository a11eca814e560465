"""Real columns: scipy's densities by the parameters that the likelihood documents, and what is refused."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ppvae.errors import UserError
from ppvae.likelihoods import RealLikelihood
from ppvae.networks import MLPDecoder

SHAPE = (1, 1, 5)
Z = torch.zeros(2)


def of(constant, maps: torch.Tensor, **settings: object) -> RealLikelihood:
    return RealLikelihood(constant(maps.double(), 1), **settings).double()


@pytest.mark.parametrize("noise", ["all", "column"])
@pytest.mark.parametrize("tails", ["normal", "student_t"])
def test_the_density_is_scipys(constant, noise, tails):
    """To 1e-12: sums of five float64 terms."""
    mean, x = torch.randn(SHAPE), torch.randn(4, *SHAPE).double()
    likelihood = of(constant, mean, tails=tails, noise=noise, degrees=3.0, least=0.1)
    log_scale = torch.randn(()) if noise == "all" else torch.randn(SHAPE)
    likelihood.log_scale.data = log_scale.double()
    scale = (np.exp(log_scale.double().numpy()) + 0.1) * np.ones(SHAPE)
    family = stats.norm(mean.double().numpy(), scale)
    family = family if tails == "normal" else stats.t(3.0, mean.double().numpy(), scale)
    expected = family.logpdf(x.numpy()).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood(Z).log_prob(x).detach().numpy(), expected, rtol=1e-12)


def test_a_decoder_may_give_the_scale_of_each_entry(constant):
    maps, x = torch.randn(2, 1, 5), torch.randn(4, *SHAPE).double()
    likelihood = of(constant, maps, noise="entry", scale=0.5, least=0.0)
    mean, log_scale = maps.double().numpy()
    expected = stats.norm(mean, np.exp(log_scale) * 0.5).logpdf(x.numpy()[:, 0]).sum((1, 2))
    np.testing.assert_allclose(likelihood(Z).log_prob(x).numpy(), expected, rtol=1e-7)  # log 0.5 is kept as a float


def test_the_scale_starts_where_it_is_told_and_stays_above_the_least(constant):
    likelihood = of(constant, torch.zeros(SHAPE), scale=0.3, least=0.2)
    assert torch.allclose(likelihood(Z).base_dist.scale, torch.tensor(0.3, dtype=torch.float64), rtol=1e-6)
    likelihood.log_scale.data.fill_(-math.inf)
    assert (likelihood(Z).base_dist.scale == 0.2).all()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"noise": "row"}, "noise='row': expected one of all, column, entry"),
        ({"tails": "cauchy"}, "tails='cauchy': expected one of normal, student_t"),
        ({"degrees": 0.0}, "degrees=0.0: expected a finite number above zero"),
        ({"least": -1.0}, "least=-1.0: expected a finite number of at least zero"),
        ({"scale": 0.001}, "scale=0.001: expected a finite number above least=0.001"),
    ],
)
def test_settings_that_cannot_be_end_in_one_line(settings, line):
    with pytest.raises(UserError, match=line) as caught:
        RealLikelihood(MLPDecoder(2, SHAPE, (4,)), **settings)
    assert "\n" not in str(caught.value)


def test_a_decoder_without_a_shape_is_refused():
    with pytest.raises(UserError, match="decoder Linear has no image_shape"):
        RealLikelihood(torch.nn.Linear(2, 5))
