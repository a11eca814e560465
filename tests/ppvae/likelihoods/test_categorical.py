"""The 256-way categorical pixel against its definition, and the constraint of 8-bit images."""

import pytest
import torch

from ppvae.distributions import PixelCategorical
from ppvae.distributions.eight_bit import eight_bit, nearest_level
from ppvae.likelihoods import CategoricalLikelihood

VALUES = torch.arange(256, dtype=torch.float64) / 255


def each_level(dtype: torch.dtype) -> torch.Tensor:
    """256 images of one pixel: (256, 1, 1, 1)."""
    return VALUES.to(dtype)[:, None, None, None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_masses_sum_to_one(dtype, tolerance, spread):
    distribution = PixelCategorical(spread * torch.randn(7, 256, 1, 1, 1, dtype=dtype))
    mass = distribution.log_prob(each_level(dtype)[:, None]).exp().sum(0)
    torch.testing.assert_close(mass, torch.ones(7, dtype=dtype), rtol=0, atol=tolerance)


def test_mass_and_moments_by_definition():
    """Two channels of 3 × 4 pixels, each with a softmax of its own."""
    logits = 2 * torch.randn(256, 2, 3, 4, dtype=torch.float64)
    p, values = logits.exp() / logits.exp().sum(0), VALUES[:, None, None, None]
    distribution = PixelCategorical(logits)
    levels = torch.randint(256, (2, 3, 4))
    expected = sum(p[levels[c, i, j], c, i, j].log() for c in range(2) for i in range(3) for j in range(4))
    torch.testing.assert_close(distribution.log_prob(levels.double() / 255), expected)
    mean = (p * values).sum(0)
    torch.testing.assert_close(distribution.mean, mean)
    torch.testing.assert_close(distribution.variance, (p * values.square()).sum(0) - mean.square())


def test_draws_have_the_masses():
    """Each level within 5 standard errors; those too rare for the normal approximation pooled."""
    distribution, draws = PixelCategorical(2 * torch.randn(256, 1, 1, 1)), 50_000
    counts = nearest_level(distribution.sample((draws,))).long().flatten().bincount(minlength=256).double()
    expected = draws * distribution.log_prob(each_level(torch.float32)).exp().double()
    rare = expected < 25
    counts, expected = (torch.cat([t[~rare], t[rare].sum()[None]]) for t in (counts, expected))
    assert ((counts - expected).abs() <= 5 * (expected * (1 - expected / draws)).sqrt()).all()


@pytest.mark.parametrize("spread", [1e-3, 1e4])
def test_gradients_are_finite_at_extremes(spread):
    logits = (spread * torch.randn(256, 1, 2, 2)).requires_grad_()
    log_prob = PixelCategorical(logits).log_prob(torch.randint(256, (5, 1, 2, 2)) / 255)
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(torch.autograd.grad(log_prob.sum(), logits)[0]).all()


def test_the_decoder_gives_all_channels_of_a_level_together(constant):
    maps = torch.randn(512, 3, 4)
    likelihood = CategoricalLikelihood(constant(maps, channels=2))
    x = torch.randint(256, (5, 2, 3, 4)) / 255
    logits = maps.reshape(256, 2, 3, 4).log_softmax(0)
    expected = logits.expand(5, -1, -1, -1, -1).gather(1, (255 * x).round().long()[:, None]).sum((1, 2, 3, 4))
    torch.testing.assert_close(likelihood(torch.zeros(5, 3)).log_prob(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_8_bit_images_are_multiples_of_1_255(dtype):
    pixels = torch.arange(256, dtype=torch.uint8).to(dtype)
    assert eight_bit.check(pixels / 255).all()
    assert eight_bit.check(pixels * (1 / 255)).all()
    assert torch.equal(nearest_level(pixels / 255), pixels)
    between = torch.tensor([0.5 / 255, 127.01 / 255, -1 / 255, 256 / 255, 0.5, float("nan"), float("inf")], dtype=dtype)
    assert not eight_bit.check(between).any()
    assert not eight_bit.check(pixels[1:255] / 256).any(), "256ths are not 255ths"
