"""p(x | z) against densities written by hand."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import UserError
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder

SHAPE = (2, 5, 4)
PIXELS = math.prod(SHAPE)


class Constant(nn.Module):
    """A decoder that draws the same logits for every z."""

    image_shape = SHAPE

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*z.shape[:-1], *SHAPE)


def test_normal_log_prob_by_hand():
    decoder, z, x = MLPDecoder(3, SHAPE, (8,)), torch.randn(6, 3), torch.rand(6, *SHAPE)
    distribution = NormalLikelihood(decoder, 0.05)(z)
    squares = (x - torch.sigmoid(decoder(z))).square().sum((1, 2, 3))
    expected = -squares / (2 * 0.05**2) - PIXELS * (math.log(0.05) + 0.5 * math.log(2 * math.pi))
    assert (distribution.batch_shape, distribution.event_shape) == ((6,), SHAPE)
    torch.testing.assert_close(distribution.log_prob(x), expected)


def test_bernoulli_log_prob_by_hand():
    decoder, z, x = MLPDecoder(3, SHAPE, (8,)), torch.randn(6, 3), torch.rand(6, *SHAPE).round()
    distribution = BernoulliLikelihood(decoder)(z)
    p = torch.sigmoid(decoder(z))
    expected = torch.where(x == 1, p, 1 - p).log().sum((1, 2, 3))
    assert (distribution.batch_shape, distribution.event_shape) == ((6,), SHAPE)
    torch.testing.assert_close(distribution.log_prob(x), expected)


def test_bernoulli_refuses_grey_pixels():
    with pytest.raises(ValueError, match="support"):
        BernoulliLikelihood(Constant(torch.zeros(SHAPE)))(torch.zeros(1, 3)).log_prob(torch.full((1, *SHAPE), 0.5))


def test_bernoulli_floor_is_a_perfect_reconstruction():
    x = torch.rand(1, *SHAPE).round()
    likelihood = BernoulliLikelihood(Constant(200 * (x[0] - 0.5)))
    assert -likelihood(torch.zeros(1, 3)).log_prob(x).item() == pytest.approx(likelihood.distortion_floor, abs=1e-6)


@pytest.mark.parametrize("scale", [0.02, 0.3, 2.0])
def test_normal_floor_is_a_perfect_reconstruction(scale):
    x = torch.rand(1, *SHAPE) * 0.8 + 0.1
    likelihood = NormalLikelihood(Constant(x[0].logit()), scale)
    perfect = -likelihood(torch.zeros(1, 3)).log_prob(x).item()
    assert perfect == pytest.approx(likelihood.distortion_floor, rel=1e-5)
    assert -likelihood(torch.zeros(1, 3)).log_prob(x + 0.05).item() > perfect


def test_learned_scale_starts_where_told_and_finds_the_noise():
    """Its optimum is the root mean squared residual; a fixed scale is no parameter."""
    x = 0.5 + 0.1 * torch.randn(200, *SHAPE)
    likelihood = NormalLikelihood(Constant(torch.zeros(SHAPE)), 0.3, learn_scale=True)
    assert [name for name, _ in likelihood.named_parameters()] == ["log_scale"]
    assert likelihood(torch.zeros(1, 3)).base_dist.scale.unique().item() == pytest.approx(0.3)
    optimiser = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = -likelihood(torch.zeros(200, 3)).log_prob(x).mean()
        loss.backward()
        assert likelihood.log_scale.grad.abs() < 1e6
        return loss

    optimiser.step(closure)
    assert likelihood.log_scale.exp().item() == pytest.approx((x - 0.5).square().mean().sqrt().item(), rel=1e-3)
    assert likelihood.distortion_floor == 0
    fixed = NormalLikelihood(Constant(torch.zeros(SHAPE)), 0.3)
    assert not list(fixed.parameters())
    assert not fixed.state_dict()


def test_images_are_drawn_around_the_mean(within_errors):
    logits = torch.linspace(-2, 2, PIXELS).reshape(SHAPE)
    for likelihood in (NormalLikelihood(Constant(logits), 0.3), BernoulliLikelihood(Constant(logits))):
        distribution = likelihood(torch.zeros(1, 3))
        torch.testing.assert_close(distribution.mean[0], logits.sigmoid())
        within_errors(distribution.sample((10_000,))[:, 0], logits.sigmoid(), resolution=0.03)


@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf")])
def test_scale_must_be_positive(scale):
    with pytest.raises(UserError, match=rf"scale.*{scale}.*expected") as error:
        NormalLikelihood(Constant(torch.zeros(SHAPE)), scale)
    assert "\n" not in str(error.value)


def test_leading_dims_become_the_batch_shape():
    z = torch.randn(7, 2, 3)
    for likelihood in (NormalLikelihood, BernoulliLikelihood):
        assert likelihood(MLPDecoder(3, SHAPE, (8,)))(z).batch_shape == (7, 2)
    assert isinstance(NormalLikelihood(MLPDecoder(3, SHAPE, (8,)))(z), dist.Independent)
