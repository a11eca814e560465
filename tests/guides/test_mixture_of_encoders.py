"""The mixture of encoders: density, draws, and the pathwise gradient against quadrature."""

import math

import pytest
import torch
from pyro.distributions import Normal
from torch import nn

from guides import MeanFieldNormal, MixtureOfEncoders
from ppvae import UserError
from ppvae.distributions import UniformMixture

SHAPE, LATENTS, HEADS = (1, 2, 2), 3, 4


class Features(nn.Module):
    """An encoder that returns its images, flattened."""

    features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


def test_density_is_the_mean_over_the_heads():
    guide = MixtureOfEncoders(Features(), LATENTS, HEADS).double()
    images, z = torch.rand(5, *SHAPE, dtype=torch.float64), torch.randn(5, LATENTS, dtype=torch.float64)
    density = 0.0
    for head in range(HEADS):
        rows, features = slice(head * LATENTS, (head + 1) * LATENTS), images.flatten(1)
        mean = features @ guide.loc.weight[rows].T + guide.loc.bias[rows]
        variance = (features @ guide.log_variance.weight[rows].T + guide.log_variance.bias[rows]).exp()
        density = density + ((-0.5 * (z - mean).square() / variance).exp() / (2 * math.pi * variance).sqrt()).prod(-1)
    torch.testing.assert_close(guide.posterior(images).log_prob(z), (density / HEADS).log())


def test_one_head_is_the_mean_field_guide():
    """The same numbers, draws included, with the same heads."""
    single, plain = MixtureOfEncoders(Features(), LATENTS, 1), MeanFieldNormal(Features(), LATENTS)
    single.load_state_dict(plain.state_dict())
    images = torch.rand(5, *SHAPE)
    draws = []
    for guide in (single, plain):
        torch.manual_seed(4)
        draws.append(guide(images))
    torch.testing.assert_close(*draws, rtol=0, atol=0)
    values = [guide.posterior(images).log_prob(draws[0]) for guide in (single, plain)]
    torch.testing.assert_close(*values)


def test_draws_take_every_head_alike(within_errors):
    """Heads far apart: each is taken a quarter of the time, and the moments are the mixture's."""
    guide = MixtureOfEncoders(Features(), LATENTS, HEADS)
    with torch.no_grad():
        guide.loc.bias.copy_(10 * torch.arange(HEADS).repeat_interleave(LATENTS))
        posterior = guide.posterior(torch.zeros(40_000, *SHAPE))
        z = posterior.rsample()
    heads = nn.functional.one_hot((z[:, 0] / 10).round().long().clamp(0, HEADS - 1), HEADS).float()
    within_errors(heads, torch.full((HEADS,), 1 / HEADS), resolution=0.1)
    within_errors(z, posterior.mean[0], resolution=0.1)
    within_errors((z - posterior.mean).square(), posterior.variance[0], resolution=0.1)


def test_pathwise_gradient_is_that_of_quadrature(within_errors):
    """∇ E_q[log q(z) − g(z)] with respect to the means and log scales of two components, g two-peaked.

    Each row of the batch has parameters of its own, so that its gradient is one independent estimate.
    """

    def objective(mixture: UniformMixture, z: torch.Tensor) -> torch.Tensor:
        return mixture.log_prob(z) - (2 * z[..., 0]).cos() - 0.3 * z[..., 0]

    means, logs, draws = torch.tensor([[-1.0], [0.8]]).double(), torch.tensor([[-0.5], [0.2]]).double(), 100_000
    leaves = [value.clone().requires_grad_() for value in (means, logs)]
    mixture = UniformMixture(Normal(leaves[0], leaves[1].exp()).to_event(1))
    z = torch.linspace(-15, 15, 20_001, dtype=torch.float64)[:, None]
    integral = torch.trapezoid(mixture.log_prob(z).exp() * objective(mixture, z), z[:, 0])
    expected = torch.autograd.grad(integral, leaves)

    rows = [value.expand(draws, 2, 1).clone().requires_grad_() for value in (means, logs)]
    mixture = UniformMixture(Normal(rows[0], rows[1].exp()).to_event(1))
    sampled = objective(mixture, mixture.rsample())
    within_errors(sampled.detach(), integral.detach(), resolution=0.05)
    for gradient, exact in zip(torch.autograd.grad(sampled.sum(), rows), expected, strict=True):
        within_errors(gradient, exact, resolution=0.08)


def test_samples_carry_no_gradient_and_rsamples_do():
    loc = torch.zeros(2, 3, requires_grad=True)
    mixture = UniformMixture(Normal(loc, torch.ones(2, 3)).to_event(1))
    assert mixture.has_rsample
    assert not mixture.sample((4,)).requires_grad
    assert mixture.rsample((4,)).requires_grad
    assert mixture.expand((5, 6)).rsample((4,)).shape == (4, 5, 6, 3)


@pytest.mark.parametrize(
    ("options", "match"), [({"components": 0}, "components=0.*expected"), ({"latents": -1}, "latents=-1.*expected")]
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        MixtureOfEncoders(Features(), **{"latents": 2, **options})
    assert "\n" not in str(error.value)
