"""The normal with one scale against torch's normal of every entry."""

import math

import pyro.distributions as dist
import pytest
import torch

from ppvae.distributions import BatchScaleNormal, IsotropicNormal

EVENT = (3, 8, 8)
# a sum of n = 192 terms in any order and under either grouping: n·ε at worst, of positive terms, √n·ε as a rule
ROUNDING = {torch.float32: 3e-6, torch.float64: 5e-15}


def both(dtype: torch.dtype, scale: float = 0.02) -> tuple[IsotropicNormal, dist.Independent, list[torch.Tensor]]:
    """Ours and torch's over two draws of five images, with the parameters that they share."""
    loc = torch.rand(2, 5, *EVENT, dtype=dtype).requires_grad_()
    log_scale = torch.tensor(math.log(scale), dtype=dtype).requires_grad_()
    factorised = dist.Normal(loc, log_scale.exp().expand_as(loc)).to_event(3)
    return IsotropicNormal(loc, log_scale.exp(), 3), factorised, [loc, log_scale]


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_density_and_gradients_are_the_factorised_normals(dtype, scale):
    ours, factorised, parameters = both(dtype, scale)
    images = torch.rand(5, *EVENT, dtype=dtype).requires_grad_()  # broadcast over the draws
    found, expected = (p.log_prob(images) for p in (ours, factorised))
    # relative to the terms' magnitudes: the quadratic and the constant may cancel
    magnitude = found.detach().abs() + 2 * EVENT[0] * 64 * (abs(math.log(scale)) + 1)
    assert ((found - expected).abs() <= ROUNDING[dtype] * magnitude).all()
    weights = torch.rand(2, 5, dtype=dtype)
    gradients = [torch.autograd.grad((weights * p).sum(), [*parameters, images]) for p in (found, expected)]
    for first, second in zip(*gradients, strict=True):
        atol = 10 * ROUNDING[dtype] * float(second.abs().max())
        torch.testing.assert_close(first, second, rtol=10 * ROUNDING[dtype], atol=atol)


def test_second_derivatives():
    loc = torch.rand(2, 3, dtype=torch.float64).requires_grad_()
    scale = torch.tensor(0.3, dtype=torch.float64).requires_grad_()
    value = torch.rand(2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda m, s, x: IsotropicNormal(m, s, 1).log_prob(x), (loc, scale, value))


def test_moments_entropy_and_shapes_are_the_factorised_normals():
    ours, factorised, _ = both(torch.float64)
    assert (ours.batch_shape, ours.event_shape) == (factorised.batch_shape, factorised.event_shape)
    for name in ("mean", "mode", "variance", "stddev"):
        torch.testing.assert_close(getattr(ours, name), getattr(factorised, name))
    torch.testing.assert_close(ours.entropy(), factorised.entropy())


def test_draws_are_the_factorised_normals_under_one_seed():
    ours, factorised, parameters = both(torch.float64)
    draws, gradients = [], []
    for p in (ours, factorised):
        torch.manual_seed(3)
        draws.append(p.rsample((4,)))
        gradients.append(torch.autograd.grad(draws[-1].square().sum(), parameters))
    torch.testing.assert_close(*draws)
    torch.testing.assert_close(*gradients)
    assert not ours.sample().requires_grad


def test_expanded_and_masked():
    loc, value = torch.rand(5, *EVENT), torch.rand(4, 5, *EVENT)
    normal, mask = IsotropicNormal(loc, torch.tensor(0.3), 3), torch.tensor([True, False, True, True, False])
    expanded = normal.expand((4, 5))
    assert (expanded.batch_shape, expanded.event_shape) == ((4, 5), EVENT)
    torch.testing.assert_close(expanded.log_prob(value), normal.log_prob(value))
    assert expanded.sample().shape == value.shape
    torch.testing.assert_close(normal.mask(mask).log_prob(value), normal.log_prob(value) * mask)


def test_the_batchs_scale_is_where_the_factorised_normals_density_is_greatest():
    """Its log-density is that of the normal at its root mean squared error, which it also writes down."""
    loc, value = torch.rand(2, 5, *EVENT, dtype=torch.float64), torch.rand(5, *EVENT, dtype=torch.float64)
    log_scale = torch.zeros((), dtype=torch.float64)
    found = BatchScaleNormal(loc, log_scale, event_dim=3).log_prob(value)
    rmse = (value - loc).square().mean().sqrt()
    torch.testing.assert_close(log_scale.exp(), rmse)
    torch.testing.assert_close(found, dist.Normal(loc, rmse).to_event(3).log_prob(value))


def test_what_is_no_normal_is_refused():
    loc, one = torch.zeros(2, *EVENT), torch.tensor(1.0)
    with pytest.raises(ValueError, match="parameter scale"):
        IsotropicNormal(loc, torch.tensor(-1.0), 3, validate_args=True)
    with pytest.raises(ValueError, match="parameter loc"):
        IsotropicNormal(loc / 0, one, 3, validate_args=True)
    normal = IsotropicNormal(loc, one, 3, validate_args=True)
    with pytest.raises(ValueError, match="within the support"):
        normal.log_prob(loc / 0)
    with pytest.raises(ValueError, match="right-most size of value must match"):
        normal.log_prob(torch.zeros(2, 3, 8, 7))
