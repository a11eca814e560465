"""A linear model with normal noise, whose posterior is known: which guide reaches it, and what a diagonal one loses.

z ~ N(0, I), x | z ~ N(Wz, σ²I): log p(x) = log N(x; 0, WWᵀ + σ²I), posterior N(Λ⁻¹Wᵀx/σ², Λ⁻¹), Λ = I + WᵀW/σ².
"""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from guides import FullCovarianceNormal, InverseAutoregressiveGuide, MeanFieldNormal
from ppvae import VAE, BetaELBO
from ppvae.pair.terms import trace
from ppvae.priors import NormalPrior

LATENTS, PIXELS, VARIANCE = 3, 5, 0.3
IMAGES = torch.randn(6, 1, 1, PIXELS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LOADINGS = torch.tensor([[1, 0.8, 0], [0.5, 0.6, -0.3], [0, 0.4, 0.9], [-0.7, 0, 0.6], [0.2, 0.9, 0.5]]).double()
EYE = torch.eye(LATENTS, dtype=torch.float64)
PRECISION = EYE + LOADINGS.T @ LOADINGS / VARIANCE
READOUT = torch.linalg.solve(PRECISION, LOADINGS.T) / VARIANCE  # x to the posterior's mean
TRIANGLE = torch.linalg.cholesky(PRECISION.inverse())


class Pixels(nn.Module):
    """An encoder that returns its images, flattened."""

    features = PIXELS

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


class Linear(nn.Module):
    """x | z ~ N(Wz, σ²I)."""

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal((z @ LOADINGS.T)[..., None, None, :], math.sqrt(VARIANCE)).to_event(3)


MODEL = VAE(NormalPrior(LATENTS), Linear()).double()


def gap() -> float:
    """½(Σ_k log Λ_kk − log |Λ|), what the best diagonal guide loses."""
    return 0.5 * (PRECISION.diagonal().log().sum() - PRECISION.logdet()).item()


def evidence(images: torch.Tensor = IMAGES) -> torch.Tensor:
    covariance = LOADINGS @ LOADINGS.T + VARIANCE * torch.eye(PIXELS, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(PIXELS, dtype=torch.float64), covariance).log_prob(images.flatten(1))


def posterior(images: torch.Tensor = IMAGES) -> MultivariateNormal:
    return MultivariateNormal(images.flatten(1) @ READOUT.T, PRECISION.inverse())


def bound(guide: nn.Module, images: torch.Tensor = IMAGES) -> torch.Tensor:
    """One draw's log p(x, z) − log q(z | x) for each image, through the library's programs."""
    terms = trace(MODEL, guide, images)
    return -(terms.distortion + terms.rate)


def constant(head: nn.Linear, value: torch.Tensor) -> None:
    """A head that ignores its features."""
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(value)


def reading(head: nn.Linear, weight: torch.Tensor) -> None:
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.weight.copy_(weight)


def best_diagonal() -> MeanFieldNormal:
    guide = MeanFieldNormal(Pixels(), LATENTS).double()
    reading(guide.loc, READOUT)
    constant(guide.log_variance, -PRECISION.diagonal().log())
    return guide


def exact_full() -> FullCovarianceNormal:
    guide = FullCovarianceNormal(Pixels(), LATENTS).double()
    reading(guide.loc, READOUT)
    constant(guide.log_variance, 2 * TRIANGLE.diagonal().log())
    constant(guide.below, TRIANGLE[*torch.tril_indices(LATENTS, LATENTS, -1)])
    return guide


def exact_flow() -> InverseAutoregressiveGuide:
    """One gated step with linear networks: σz₀ + (1 − σ)Bz₀ has covariance A diag(s²) Aᵀ, A = σI + (1 − σ)B."""
    guide = InverseAutoregressiveGuide(Pixels(), LATENTS, flows=1, hidden=[4]).double()
    gate = torch.tensor(2.0, dtype=torch.float64).sigmoid()
    scale = TRIANGLE.diagonal() / gate
    below = TRIANGLE.tril(-1) / ((1 - gate) * scale)
    network = guide.flow.steps[0]
    with torch.no_grad():
        for parameter in (network.last.weight, network.context.weight, network.first.weight, network.first.bias):
            parameter[-2 * LATENTS :].zero_()
        network.first.weight[-2 * LATENTS : -LATENTS] = below
    reading(guide.loc, torch.linalg.solve(gate * EYE + (1 - gate) * below, READOUT))
    constant(guide.log_variance, 2 * scale.log())
    return guide


@pytest.mark.parametrize("make", [exact_full, exact_flow])
def test_a_guide_of_the_posteriors_family_has_no_gap(make):
    """Every draw's bound is log p(x): the ratio is constant where q is the posterior."""
    guide = make()
    for _ in range(3):
        torch.testing.assert_close(bound(guide), evidence(), rtol=0, atol=1e-10)
    z = torch.randn(6, LATENTS, dtype=torch.float64)
    torch.testing.assert_close(guide.posterior(IMAGES).log_prob(z), posterior().log_prob(z), rtol=0, atol=1e-10)


def test_the_best_diagonal_guide_has_the_gap(within_errors):
    """KL(q ‖ p(z | x)) = gap for each image, stationary in every parameter (the KL is convex in them), and the bound
    of the library's programs lies below log p(x) by as much."""
    guide = best_diagonal()
    assert gap() > 0.1
    kl = kl_divergence(guide.posterior(IMAGES), dist.MultivariateNormal(posterior().loc, PRECISION.inverse()))
    torch.testing.assert_close(kl, torch.full((6,), gap(), dtype=torch.float64))
    for gradient in torch.autograd.grad(kl.sum(), tuple(guide.parameters())):
        assert gradient.abs().max() < 1e-10
    with torch.no_grad():
        draws = bound(guide, IMAGES[:1].expand(40_000, 1, 1, PIXELS))
    within_errors(evidence()[0] - draws, gap(), resolution=0.1)


def test_training_finds_both():
    """LBFGS from the usual start on the exact −ELBO, here log-evidence and KL in closed form."""
    reached = {}
    for family in (MeanFieldNormal, FullCovarianceNormal):
        torch.manual_seed(0)
        guide = family(Pixels(), LATENTS).double()
        optimiser = torch.optim.LBFGS(guide.parameters(), max_iter=300, line_search_fn="strong_wolfe")
        exact = dist.MultivariateNormal(posterior().loc, PRECISION.inverse())

        def closure(guide=guide, optimiser=optimiser, exact=exact) -> torch.Tensor:
            optimiser.zero_grad()
            loss = kl_divergence(guide.posterior(IMAGES), exact).mean()
            loss.backward()
            return loss

        optimiser.step(closure)
        reached[family] = closure().item()
    assert reached[MeanFieldNormal] == pytest.approx(gap(), abs=1e-5)
    assert reached[FullCovarianceNormal] == pytest.approx(0, abs=1e-5)


def test_the_closed_form_rate_of_the_exact_posterior(within_errors):
    """BetaELBO with the KL in closed form agrees with the evidence on average over the draws."""
    guide, images = exact_full(), IMAGES[:1].expand(20_000, 1, 1, PIXELS)
    with torch.no_grad():
        terms = BetaELBO(estimator="mean_field").measure(MODEL, guide, images)
    assert terms.rate.std() < 1e-10
    within_errors(terms.distortion + terms.rate, -evidence()[0], resolution=0.05)
