"""Bernoulli pixels, and the cross-entropy that stands in for them on grey ones."""

import math

import pyro.distributions as dist
import pytest
import torch

from guides import MeanFieldNormal
from ppvae import VAE, UserError, check_pair
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

SHAPE = (2, 5, 4)
PIXELS = math.prod(SHAPE)


def test_log_prob_by_hand():
    decoder, z, x = MLPDecoder(3, SHAPE, (8,)), torch.randn(6, 3), torch.rand(6, *SHAPE).round()
    distribution = BernoulliLikelihood(decoder)(z)
    p = torch.sigmoid(decoder(z))
    expected = torch.where(x == 1, p, 1 - p).log().sum((1, 2, 3))
    assert (distribution.batch_shape, distribution.event_shape) == ((6,), SHAPE)
    torch.testing.assert_close(distribution.log_prob(x), expected)


def test_grey_pixels_are_refused(constant):
    with pytest.raises(ValueError, match="support"):
        BernoulliLikelihood(constant(torch.zeros(SHAPE)))(torch.zeros(1, 3)).log_prob(torch.full((1, *SHAPE), 0.5))


def test_floor_is_a_perfect_reconstruction(constant):
    x = torch.rand(1, *SHAPE).round()
    likelihood = BernoulliLikelihood(constant(200 * (x[0] - 0.5)))
    assert -likelihood(torch.zeros(1, 3)).log_prob(x).item() == pytest.approx(likelihood.distortion_floor, abs=1e-6)


def test_images_are_drawn_around_the_mean(constant, within_errors):
    logits = torch.linspace(-2, 2, PIXELS).reshape(SHAPE)
    distribution = BernoulliLikelihood(constant(logits))(torch.zeros(1, 3))
    torch.testing.assert_close(distribution.mean[0], logits.sigmoid())
    within_errors(distribution.sample((10_000,))[:, 0], logits.sigmoid(), resolution=0.03)


def test_the_surrogate_is_the_cross_entropy_of_grey_pixels():
    decoder, z, x = MLPDecoder(3, SHAPE, (8,)), torch.randn(6, 3), torch.rand(6, *SHAPE)
    p = torch.sigmoid(decoder(z))
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(BernoulliLikelihood(decoder, surrogate=True)(z).log_prob(x), expected)


def test_the_surrogate_on_binary_pixels_is_bernoulli():
    decoder, z, x = MLPDecoder(3, SHAPE, (8,)), torch.randn(6, 3), torch.rand(6, *SHAPE).round()
    first, second = (BernoulliLikelihood(decoder, surrogate=surrogate)(z) for surrogate in (False, True))
    assert torch.equal(first.log_prob(x), second.log_prob(x))
    assert torch.equal(first.expand((2, 6)).mean, second.expand((2, 6)).mean)


def test_the_surrogate_has_no_normaliser():
    """∫₀¹ pˣ(1 − p)¹⁻ˣ dx = (2p − 1)/(log p − log(1 − p)), 0.31 at p = 0.95: it must never pass for a density."""
    x = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    p = torch.tensor(0.95, dtype=torch.float64)
    surrogate = BernoulliLikelihood(MLPDecoder(3, SHAPE, (8,)), surrogate=True)(torch.zeros(3)).base_dist
    density = type(surrogate)(p).log_prob(x).exp()
    expected = float((2 * p - 1) / (p.log() - (1 - p).log()))
    assert float(torch.trapezoid(density, x)) == pytest.approx(expected, rel=1e-6)  # of the trapezoids
    assert expected < 0.31


def test_the_surrogate_says_so_and_check_pair_lets_grey_pixels_through():
    encoder, images = MLPEncoder(SHAPE, (8,)), torch.rand(4, *SHAPE)
    grey, binary = (BernoulliLikelihood(MLPDecoder(3, SHAPE, (8,)), surrogate=flag) for flag in (True, False))
    assert (grey.surrogate, binary.surrogate) == (True, False)
    check_pair(VAE(NormalPrior(3), grey), MeanFieldNormal(encoder, 3), images)
    for likelihood, refused in ((binary, images), (grey, 2 * images)):
        with pytest.raises(UserError, match=r"outside the support of .*Bernoulli") as error:
            check_pair(VAE(NormalPrior(3), likelihood), MeanFieldNormal(encoder, 3), refused)
        assert "\n" not in str(error.value)


def test_without_surrogate_it_is_pyros_own():
    assert type(BernoulliLikelihood(MLPDecoder(3, SHAPE, (8,)))(torch.zeros(3)).base_dist) is dist.Bernoulli
