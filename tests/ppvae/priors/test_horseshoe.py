"""The horseshoe on a grid of scales: its density, and what it costs a normal code in use or not."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError, check_pair
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.sites import elementwise
from ppvae.pair.terms import pair_traces
from ppvae.priors import HorseshoePrior

EXCESS = 0.2403  # nats of the default grid: the least KL of a normal from the horseshoe


def density(prior: HorseshoePrior) -> dist.TorchDistribution:
    with torch.no_grad():
        return dist.MixtureSameFamily(
            dist.Categorical(logits=prior.logits[0].double()), dist.Normal(torch.zeros(()), prior.scales[0].double())
        )


def least_kl(prior: HorseshoePrior) -> float:
    """Over the normals N(0, s²), by quadrature."""
    t = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    weights = (-0.5 * t.square()).exp()
    weights, log_p = weights / weights.sum(), density(prior).log_prob

    def kl(log_scale: float) -> float:
        entropy = 0.5 * math.log(2 * math.pi * math.e) + log_scale
        return float(-(weights * log_p(t * math.exp(log_scale))).sum()) - entropy

    return minimize_scalar(kl, bounds=(-6, 4), method="bounded").fun


def half_cauchy(log: float) -> float:
    """Of log λ, but for its norm."""
    return math.exp(log) / (1 + math.exp(2 * log))


@pytest.mark.parametrize(("components", "tolerance"), [(400, 0.01), (16, 0.02)])
@pytest.mark.parametrize("z", [0.02, 0.1, 0.5, 2.0])
def test_the_density_is_the_half_cauchys_mixture(components, tolerance, z):
    """∫ N(z; 0, (τλ)²) h(λ) dλ over the grid's range, up to the steps of a fine grid; of the default one to 2 %."""

    def integrand(log: float) -> float:
        deviation = 0.5 * math.exp(log)
        return half_cauchy(log) * math.exp(-0.5 * (z / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))

    low, high = math.log(0.01), math.log(10)
    expected = quad(integrand, low, high, epsabs=1e-12)[0] / quad(half_cauchy, low, high)[0]
    found = density(HorseshoePrior(1, scale=0.5, components=components)).log_prob(torch.tensor(z).double()).exp()
    assert float(found) == pytest.approx(expected, rel=tolerance)


def test_the_tail_is_heavy_and_the_middle_peaked():
    """Beside the normal of the same variance, in the middle and far out."""
    prior = HorseshoePrior(1)
    p = density(prior)
    normal = dist.Normal(0.0, float(p.variance) ** 0.5)
    ratio = {
        z: float((p.log_prob(torch.tensor(z)) - normal.log_prob(torch.tensor(z))).exp()) for z in (0.01, 2.0, 12.0)
    }
    assert ratio[0.01] > 5
    assert ratio[2.0] < 1
    assert ratio[12.0] > 2


def test_each_latent_has_a_closed_form_density(within_errors):
    prior = HorseshoePrior(3)
    model = VAE(prior, NormalLikelihood(MLPDecoder(3, (1, 4, 4), [8]), 0.3))
    guide = MeanFieldNormal(MLPEncoder((1, 4, 4), [8]), 3)
    check_pair(model, guide, torch.rand(5, 1, 4, 4))
    drawn, scored = pair_traces(model, guide, torch.rand(5, 1, 4, 4))
    q, p = elementwise(drawn.nodes["z"]["fn"], scored.nodes["z"]["fn"])
    z = drawn.nodes["z"]["value"].detach()
    assert q.log_prob(z).shape == p.log_prob(z).shape == (5, 3)
    torch.testing.assert_close(p.log_prob(z).double(), density(prior).log_prob(z.double()), rtol=1e-5, atol=1e-5)
    draws = p.sample((20_000,))[:, 0, 0]
    within_errors((draws.abs() < 0.3).float(), (p_below := below(prior, 0.3)), resolution=0.1)
    assert 0.2 < p_below < 0.5


def below(prior: HorseshoePrior, edge: float) -> float:
    """P(|z| < edge)."""
    weights = prior.logits[0].double().softmax(0)
    return float((weights * torch.erf(edge / prior.scales[0].double() / 2**0.5)).sum())


# The linear model

VARIANCES = torch.tensor([3.0, 2.0, 1.2, 0.02, 0.02, 0.02])
NOISE, LATENTS, PIXELS = 0.1, 5, 6


class Linear(nn.Module):
    """p(x | z) = N(Wz, σ²)."""

    def __init__(self) -> None:
        super().__init__()
        self.loadings = nn.Linear(LATENTS, PIXELS, bias=False)

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.loadings(z)[..., None, None, :], NOISE**0.5).to_event(3)


class Pixels(nn.Module):
    features = PIXELS

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def test_no_normal_code_costs_less_than_the_excess():
    assert least_kl(HorseshoePrior(1)) == pytest.approx(EXCESS, abs=1e-3)


@pytest.mark.long
def test_normal_codes_cost_alike_in_use_or_not():
    """So that of five latents PCA's three are in use, each of KL ½ log(λ/σ²), and all five at 0.24 nats more."""
    white = torch.randn(1000, PIXELS)
    white = torch.linalg.qr(white - white.mean(0)).Q * 1000**0.5
    images = (white * VARIANCES.sqrt())[:, None, None, :]
    model, guide = VAE(HorseshoePrior(LATENTS), Linear()), MeanFieldNormal(Pixels(), LATENTS)
    optimiser = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.1)
    for step in range(500):
        optimiser.param_groups[0]["lr"] = 0.1 if step < 350 else 0.01
        optimiser.zero_grad()
        BetaELBO()(model, guide, images).backward()
        optimiser.step()
    with torch.no_grad():
        terms = [BetaELBO().measure(model, guide, images) for _ in range(20)]
    kl = torch.stack([one.rates["z"][1].mean(0) for one in terms]).mean(0).sort(descending=True).values
    expected = torch.cat([0.5 * (VARIANCES[:3] / NOISE).log(), torch.zeros(2)])
    torch.testing.assert_close(kl, expected + EXCESS, rtol=0, atol=0.08)
    loss = sum(float((one.distortion + one.rate).mean()) for one in terms) / 20
    pca = float(expected.sum()) + 3 / 2 + float(VARIANCES[3:].sum()) / (2 * NOISE)
    assert loss == pytest.approx(pca + PIXELS / 2 * math.log(2 * math.pi * NOISE) + LATENTS * EXCESS, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"scale": 0.0}, r"scale=0\.0"),
        ({"low": 2.0, "high": 2.0}, r"low=2\.0, high=2\.0: expected low below high"),
        ({"components": 1}, "components=1: expected a whole number of at least 2"),
    ],
)
def test_mistakes_are_named(settings, line):
    with pytest.raises(UserError, match=line):
        HorseshoePrior(3, **settings)


def test_the_grid_is_even_in_logarithms():
    prior = HorseshoePrior(2, scale=2.0, components=4, low=0.1, high=100.0)
    np.testing.assert_allclose(prior.scales, [[0.2, 2.0, 20.0, 200.0]] * 2, rtol=1e-5)
    weights = np.array([0.1 / 1.01, 1 / 2, 10 / 101, 100 / 10001])
    np.testing.assert_allclose(prior.logits.softmax(1), [weights / weights.sum()] * 2, rtol=1e-5)
