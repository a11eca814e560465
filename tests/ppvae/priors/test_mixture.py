"""The mixture prior: its density, its start, and the exact marginal of x under a linear decoder."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ppvae import VAE, UserError
from ppvae.priors import MixturePrior

COMPONENTS, NOISE = 3, 0.4
LOADINGS = torch.tensor([[1.0, 0.2], [-0.5, 0.8], [0.3, 0.3]], dtype=torch.float64)


class Linear(nn.Module):
    """x | z ~ N(Wz, σ²)."""

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal((z @ LOADINGS.T)[..., None, None, :], NOISE).to_event(3)


def make_prior() -> MixturePrior:
    prior = MixturePrior(2, COMPONENTS).double()
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.5, -1.0, 0.2]))
        prior.log_scale.copy_(torch.tensor([[-0.3, 0.1], [-0.7, -0.2], [0.2, -0.5]]))
    return prior


def site(prior: MixturePrior, count: int) -> dict:
    with pyro.plate("image", count, dim=-1):
        return poutine.trace(prior).get_trace().nodes["z"]


def test_density_is_the_weighted_sum():
    prior, z = make_prior(), torch.randn(7, 2, dtype=torch.float64)
    weights, scale = prior.logits.exp() / prior.logits.exp().sum(), prior.log_scale.exp()
    squares = ((z[:, None] - prior.loc) / scale).square() + (2 * math.pi * scale.square()).log()
    expected = (weights * (-0.5 * squares.sum(-1)).exp()).sum(-1).log()
    torch.testing.assert_close(site(prior, 7)["fn"].log_prob(z), expected)


def test_draws_have_the_mixtures_moments(within_errors):
    prior = make_prior()
    with torch.no_grad():
        draws = site(prior, 50_000)
        weights = prior.logits.softmax(0)[:, None]
        mean = (weights * prior.loc).sum(0)
        square = (weights * (prior.loc.square() + (2 * prior.log_scale).exp())).sum(0)
    within_errors(draws["value"], mean, resolution=0.2)
    within_errors(draws["value"].square(), square, resolution=0.1)
    torch.testing.assert_close(draws["fn"].mean[0], mean)
    torch.testing.assert_close(draws["fn"].variance[0], square - mean.square())


def test_marginal_of_images_is_a_mixture_of_normals():
    """p(x) = Σ_k w_k N(x; W m_k, W S_k Wᵀ + σ²I) for a linear decoder, against ∫ p(x, z) dz of the program."""
    prior = make_prior()
    axis = torch.linspace(-8, 8, 201, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    x = torch.tensor([0.4, -1.0, 0.7], dtype=torch.float64)
    model = poutine.condition(VAE(prior, Linear()), {"z": z})
    nodes = poutine.trace(model).get_trace(x.expand(len(z), 1, 1, 3)).nodes
    joint = sum(nodes[name]["fn"].log_prob(nodes[name]["value"]) for name in ("z", "x"))
    integral = joint.logsumexp(0) + 2 * (axis[1] - axis[0]).log()
    spread = (2 * prior.log_scale).exp().diag_embed()
    covariance = LOADINGS @ spread @ LOADINGS.T + NOISE**2 * torch.eye(3, dtype=torch.float64)
    parts = torch.distributions.MultivariateNormal(prior.loc @ LOADINGS.T, covariance).log_prob(x)
    exact = (prior.logits.log_softmax(0) + parts).logsumexp(0)
    torch.testing.assert_close(integral, exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.9])
def test_it_starts_with_variance_one_and_distinct_components(spread):
    prior = MixturePrior(4, 5_000, spread)
    fn = site(prior, 1)["fn"]
    torch.testing.assert_close(fn.variance[0], torch.ones(4), rtol=0, atol=0.1)  # 5 standard errors of the means'
    torch.testing.assert_close(prior.loc.var(0), torch.full((4,), spread), rtol=0.1, atol=0)
    assert torch.unique(prior.loc, dim=0).shape == prior.loc.shape


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"components": 0}, "components=0.*expected"),
        ({"latents": 1.5}, "latents=1.5.*expected"),
        ({"spread": 1.0}, "spread=1.0.*between 0 and 1"),
        ({"spread": float("nan")}, "spread=nan.*between 0 and 1"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        MixturePrior(**{"latents": 2, **options})
    assert "\n" not in str(error.value)
