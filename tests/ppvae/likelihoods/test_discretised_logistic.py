"""The discretised logistic pixel against its definition in double precision."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from ppvae.distributions import DiscretisedLogistic
from ppvae.distributions.logistic_bins import LEAST_LOG_SCALE, bin_moments, smooth_mean
from ppvae.likelihoods import DiscretisedLogisticLikelihood

LEVELS = torch.arange(256, dtype=torch.float64)
VALUES = LEVELS / 255
MEANS = torch.tensor([-50.0, -0.3, 0.0, 0.02, 0.3137, 0.5, 1.0, 1.7, 40.0], dtype=torch.float64)
LOG_SCALES = torch.tensor([-20.0, -7.0, -5.0, -3.0, -1.0, 0.0, 3.0, 15.0], dtype=torch.float64)


def make_grid(dtype: torch.dtype) -> DiscretisedLogistic:
    return DiscretisedLogistic(MEANS.to(dtype)[:, None], LOG_SCALES.to(dtype))


def masses(distribution: DiscretisedLogistic) -> torch.Tensor:
    """(256, *batch)."""
    values = VALUES.to(distribution.loc.dtype).reshape(256, *[1] * len(distribution.batch_shape))
    return distribution.log_prob(values.expand(256, *distribution.batch_shape)).exp()


def cdf(value: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid((value - mean) / scale)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_masses_sum_to_one(dtype, tolerance):
    total = masses(make_grid(dtype)).sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=tolerance)


def test_masses_are_differences_of_the_distribution_function():
    """Where the subtraction loses nothing: to its own rounding, 1e-15 of the distribution function's one."""
    mean, scale = torch.tensor([[0.1, 0.5, 1.1], [0.02, 0.1, 0.5]], dtype=torch.float64)
    values = VALUES[:, None]
    expected = cdf(values + 0.5 / 255, mean, scale) - cdf(values - 0.5 / 255, mean, scale)
    expected[0] = cdf(values[0] + 0.5 / 255, mean, scale)
    expected[-1] = 1 - cdf(values[-1] - 0.5 / 255, mean, scale)
    torch.testing.assert_close(masses(DiscretisedLogistic(mean, scale.log())), expected, rtol=0, atol=1e-14)


def test_without_edge_bins_the_mass_is_that_of_the_unit_interval():
    """The errata's 0.68 at (μ = 0.5, s = 0.3), tanh(0.5/0.6); the edge bins add what is missing."""
    mean, scale = torch.tensor([0.5, 0.3], dtype=torch.float64)
    starts = torch.arange(256).double() / 256
    without = (cdf(starts + 1 / 256, mean, scale) - cdf(starts, mean, scale)).sum()
    assert without.item() == pytest.approx(math.tanh(0.5 / 0.6), abs=1e-12)
    assert without.item() == pytest.approx(0.68, abs=0.005)
    distribution = DiscretisedLogistic(mean, scale.log())
    p = masses(distribution)
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    inner = p[1:-1].sum()
    assert inner.item() == pytest.approx(math.tanh((0.5 - 0.5 / 255) / 0.6), abs=1e-12)
    assert (p[0] + p[-1]).item() == pytest.approx(2 * torch.sigmoid((0.5 / 255 - mean) / scale).item(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tails_are_exact_where_the_subtraction_would_be_nothing(dtype):
    """Far from the mean the mass is e^{−l}(1 − e^{−w}), l the lower edge and w the width over the scale."""
    scale = math.exp(-5)
    distribution = DiscretisedLogistic(torch.tensor(0.0, dtype=dtype), torch.tensor(-5.0, dtype=dtype))
    for level in (150, 200, 254):
        lower, width = (level - 0.5) / 255 / scale, 1 / 255 / scale
        expected = -lower + math.log(-math.expm1(-width))
        value = torch.tensor(level / 255, dtype=dtype)
        assert distribution.log_prob(value).item() == pytest.approx(expected, rel=1e-6)
    wide = DiscretisedLogistic(torch.tensor(0.5, dtype=dtype), torch.tensor(150.0, dtype=dtype))
    expected = -math.log(4 * 255) - 150  # σ' = ¼ times the width, below every float32
    assert wide.log_prob(torch.tensor(100 / 255, dtype=dtype)).item() == pytest.approx(expected, rel=1e-6)


def test_scales_are_raised_to_the_least():
    least = DiscretisedLogistic(MEANS, torch.full_like(MEANS, LEAST_LOG_SCALE))
    assert torch.equal(masses(DiscretisedLogistic(MEANS, torch.full_like(MEANS, -100.0))), masses(least))
    assert math.exp(LEAST_LOG_SCALE) * 2 == pytest.approx(math.exp(-7))


def test_moments_are_sums_over_the_levels():
    distribution = make_grid(torch.float64)
    p, values = masses(distribution), VALUES[:, None, None]
    mean = (values * p).sum(0)
    torch.testing.assert_close(distribution.mean, mean, rtol=0, atol=1e-12)
    variance = (values.square() * p).sum(0) - mean.square()
    torch.testing.assert_close(distribution.variance, variance, rtol=0, atol=1e-12)
    torch.testing.assert_close(make_grid(torch.float32).mean, mean.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("levels", "tolerance"), [(0.12, 0.5), (1, 0.02), (30, 0.02), (3000, 0.02)])
def test_the_smooth_mean_is_near(levels, tolerance):
    mean = torch.linspace(-0.5, 1.5, 1001, dtype=torch.float64)
    log_scale = torch.full_like(mean, math.log(levels / 255))
    error = (smooth_mean(mean, log_scale) - bin_moments(mean, log_scale)[0]).abs().max().item()
    assert error < tolerance / 255


def test_draws_have_the_masses():
    """Each level within 5 standard errors; those too rare for the normal approximation pooled."""
    mean, log_scale = torch.tensor([0.03, 0.5, 1.02]), torch.tensor([-3.0, -4.5, -1.0])
    distribution, draws = DiscretisedLogistic(mean, log_scale), 50_000
    levels = (distribution.sample((draws,)) * 255).round().long()
    for k, p in enumerate(masses(distribution).double().T):
        counts, expected = levels[:, k].bincount(minlength=256).double(), draws * p
        rare = expected < 25
        counts, expected = (torch.cat([t[~rare], t[rare].sum()[None]]) for t in (counts, expected))
        assert ((counts - expected).abs() <= 5 * (expected * (1 - expected / draws)).sqrt()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_at_extremes(dtype):
    mean = torch.tensor([-1e4, 0.0, 0.5, 1.0, 1e4], dtype=dtype)[:, None, None].requires_grad_()
    log_scale = torch.tensor([-200.0, -8.0, -7.0, 0.0, 7.0, 50.0, 200.0], dtype=dtype)[:, None].requires_grad_()
    values = torch.tensor([0, 1, 128, 254, 255], dtype=dtype) / 255
    log_prob = DiscretisedLogistic(mean, log_scale).log_prob(values)
    assert torch.isfinite(log_prob).all()
    assert (log_prob <= 0).all()
    gradients = torch.autograd.grad(log_prob.sum(), [mean, log_scale])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients[1][0].item() == 0, "below the least scale there is no gradient"
    assert gradients[0][0].item() > 0 > gradients[0][-1].item(), "a mean out of sight is still pulled back"


def test_gradients_are_those_of_finite_differences():
    mean = torch.tensor([-0.2, 0.3, 0.9], dtype=torch.float64).requires_grad_()
    log_scale = torch.tensor([-6.0, -3.0, 1.0], dtype=torch.float64).requires_grad_()
    values = torch.tensor([0, 1, 77, 254, 255], dtype=torch.float64)[:, None] / 255
    assert torch.autograd.gradcheck(lambda m, s: DiscretisedLogistic(m, s).log_prob(values), (mean, log_scale))


def test_the_decoder_speaks_of_pixels_in_minus_one_to_one(constant):
    """Maps are means, then log-scales, as PixelCNN++ has them: its formula on 2x − 1, bins of half-width 1/255."""
    maps = 0.3 * torch.randn(4, 3, 5, dtype=torch.float64) - torch.tensor([0.0, 0.0, 1.0, 1.0])[:, None, None]
    likelihood = DiscretisedLogisticLikelihood(constant(maps, channels=2))
    x = torch.randint(256, (6, 2, 3, 5)).double() / 255
    x[:2] = x[:2].round()  # edges too
    mean, scale, centred = maps[:2], maps[2:].exp(), 2 * x - 1
    upper = torch.where(x == 1, 1.0, cdf(centred + 1 / 255, mean, scale))
    lower = torch.where(x == 0, 0.0, cdf(centred - 1 / 255, mean, scale))
    expected = (upper - lower).log().sum((1, 2, 3))
    torch.testing.assert_close(likelihood(torch.zeros(6, 3)).log_prob(x), expected, rtol=1e-9, atol=0)


def by_cases(values: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """log[σ(u) − σ(l)] in double precision, where 1/scale does not underflow; the outer bins by case."""
    scale = log_scale.clamp(min=LEAST_LOG_SCALE).exp()
    upper, lower = (values + 0.5 / 255 - mean) / scale, (values - 0.5 / 255 - mean) / scale
    below, above = logsigmoid(upper), logsigmoid(-lower)
    inside = below + above + torch.log(-torch.expm1(-1 / (255 * scale)))
    return torch.where(values == 0, below, torch.where(values == 1, above, inside))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_and_gradients_are_the_definitions_everywhere(dtype):
    """To the rounding of the edges, (k − 255·mean ± ½)·w with factors within a few units in the last place.

    Gradients below single precision's least number are nothing.
    """
    mean = torch.tensor([-1e4, -2.0, 0.0, 0.3137, 1.0, 30.0], dtype=torch.float64)[:, None, None].expand(6, 10, 7)
    scales = [-9.0, -7.6, -7.0, -3.0, 0.0, 10.0, 79.9, 80.1, 95.0, 300.0]
    log_scale = torch.tensor(scales, dtype=torch.float64)[:, None].expand(6, 10, 7)
    values = torch.tensor([0, 1, 80, 128, 253, 254, 255], dtype=torch.float64).expand(6, 10, 7) / 255
    inputs = [t.clone().requires_grad_() for t in (mean, log_scale)]
    exact = by_cases(values, *inputs)
    exact_gradients = torch.autograd.grad(exact.sum(), inputs)
    given = [t.to(dtype).requires_grad_() for t in (mean, log_scale)]
    found = DiscretisedLogistic(*given).log_prob(values.to(dtype))
    gradients = torch.autograd.grad(found.sum(), given)
    width = (-log_scale.clamp(min=LEAST_LOG_SCALE)).exp() / 255
    size = (255 * (values + mean.abs()) + 1) * width  # of an edge's terms, over the scale
    unit, least = 8 * torch.finfo(dtype).eps, torch.finfo(torch.float32).tiny
    assert ((found - exact).abs() <= unit * (size + exact.abs())).all()
    assert ((gradients[0] - exact_gradients[0]).abs() <= unit * 255 * width * (1 + size) + least).all()
    assert ((gradients[1] - exact_gradients[1]).abs() <= unit * (1 + size) ** 2 + least).all()
