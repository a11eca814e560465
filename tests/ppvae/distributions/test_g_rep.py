"""G-REP gradients against quadrature, torch's implicit gradients and the formulas of Ruiz et al. 2016."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from scipy import stats
from scipy.integrate import quad
from scipy.special import digamma, gammaln
from torch.distributions import Gamma, kl_divergence

from ppvae.distributions import GRepGamma

CASES = [(3.65, 0.24), (8.25, 3.62), (0.7, 1.0)]
DRAWS = 100_000
FUNCTIONS = {"log": torch.log, "square": torch.square, "bounded": lambda x: x / (1 + x)}


def leaves(shape: float, rate: float, count: int = DRAWS) -> tuple[torch.Tensor, torch.Tensor]:
    """The same parameters ``count`` times, as leaves, so that each draw has its own gradient."""
    alpha, beta = (torch.full((count,), value, dtype=torch.float64) for value in (shape, rate))
    return alpha.requires_grad_(), beta.requires_grad_()


def gradients(family: type, function, shape: float, rate: float, *, score: bool = True) -> torch.Tensor:
    """Gradient estimates of E f(λ) with respect to shape and rate: (draw, 2)."""
    alpha, beta = leaves(shape, rate)
    gamma = family(alpha, beta)
    draws = gamma.rsample()
    value = function(draws)
    surrogate = value + (value.detach() * gamma.score_parts(draws).score_function if score else 0)
    return torch.stack(torch.autograd.grad(surrogate.sum(), (alpha, beta)), -1)


def quadrature(function, shape: float, rate: float) -> list[float]:
    """∇E f(λ) = E[f(λ) ∇log q(λ)], integrated over log λ."""

    def integrand(t: float, score) -> float:
        x = math.exp(t)
        density = math.exp(shape * (t + math.log(rate)) - rate * x - gammaln(shape))
        return float(function(torch.tensor(x, dtype=torch.float64))) * density * score(t, x)

    scores = (lambda t, _: t + math.log(rate) - digamma(shape), lambda _, x: shape / rate - x)
    return [quad(integrand, -40, 12, (score,), points=[math.log(shape / rate)], limit=500)[0] for score in scores]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_is_quadratures(name, case, within_errors):
    exact = torch.tensor(quadrature(FUNCTIONS[name], *case))
    within_errors(gradients(GRepGamma, FUNCTIONS[name], *case), exact, resolution=0.12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradient_is_the_implicit_one(name, case):
    """Two independent means differ by less than 5 standard errors of their difference."""
    ours = gradients(GRepGamma, FUNCTIONS[name], *case)
    implicit = gradients(dist.Gamma, FUNCTIONS[name], *case, score=False)
    error = ((ours.var(0) + implicit.var(0)) / DRAWS).sqrt()
    assert ((ours.mean(0) - implicit.mean(0)).abs() <= 5 * error).all()


@pytest.mark.parametrize("case", CASES[::2])
def test_the_score_term_is_needed(case):
    """The same check without the score term fails (by 10 standard errors and more), so the two above can tell."""
    pathwise = gradients(GRepGamma, torch.square, *case, score=False)[:, 0]
    error = 5 * pathwise.std() / DRAWS**0.5
    assert (pathwise.mean() - quadrature(torch.square, *case)[0]).abs() > error


@pytest.mark.parametrize("case", [*CASES, (902.0, 810.9)])
def test_samples_follow_the_gamma_distribution(case, within_errors):
    shape, rate = case
    draws = GRepGamma(*(torch.tensor(v, dtype=torch.float64) for v in case)).rsample((DRAWS,))
    moments = torch.tensor([shape / rate, shape * (shape + 1) / rate**2, digamma(shape) - math.log(rate)])
    for samples, moment in zip((draws, draws.square(), draws.log()), moments.tolist(), strict=True):
        within_errors(samples, moment, resolution=0.05)
    assert stats.kstest(draws.numpy()[:20_000], stats.gamma(shape, scale=1 / rate).cdf).pvalue > 1e-4


def test_single_precision_draws_are_positive_and_finite():
    gamma = GRepGamma(torch.tensor([1e-2, 0.7, 902.0]), torch.tensor([1.0, 1.0, 810.9]))
    draws = gamma.rsample((10_000,))
    assert torch.isfinite(draws).all()
    assert (draws > 0).all()
    assert torch.isfinite(gamma.score_parts(draws).score_function).all()


@pytest.mark.parametrize("case", CASES)
def test_score_is_the_papers(case, within_errors):
    """∂α log q(ε; α) of G-REP (Ruiz et al. 2016), draw by draw; its mean is zero; the rate does not enter."""
    alpha, beta = leaves(*case)
    gamma = GRepGamma(alpha, beta)
    draws = gamma.rsample().detach()
    score = gamma.score_parts(draws).score_function.sum()
    ours, of_rate = torch.autograd.grad(score, (alpha, beta), allow_unused=True)
    with torch.no_grad():
        mean, psi1, psi2 = torch.digamma(alpha), torch.polygamma(1, alpha), torch.polygamma(2, alpha)
        noise = (draws.log() - mean + beta.log()) / psi1.sqrt()
        slope = noise * psi2 / (2 * psi1.sqrt()) + psi1
        formula = draws.log() + beta.log() - mean + (alpha - beta * draws) * slope + psi2 / (2 * psi1)
    torch.testing.assert_close(ours, formula)
    assert of_rate is None or not of_rate.any()
    within_errors(ours / ours.std() + 1, 1.0, resolution=0.05)


@pytest.mark.parametrize("shape", [0.7, 3.65, 902.0])
def test_score_function_is_the_log_density_of_the_noise(shape):
    """It integrates to one over ε with mean 0 and variance 1, and is the same for every rate."""
    noise = torch.linspace(-60, 12, 200_001, dtype=torch.float64)
    alpha = torch.tensor(shape, dtype=torch.float64)
    mean, deviation = torch.digamma(alpha), torch.polygamma(1, alpha).sqrt()
    densities = []
    for rate in (0.1, 1.0, 300.0):
        draws = (noise * deviation + mean).exp() / rate
        gamma = GRepGamma(alpha, torch.tensor(rate, dtype=torch.float64), validate_args=False)
        densities.append(gamma.score_parts(draws).score_function.exp())
    torch.testing.assert_close(densities[0], densities[1], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(densities[0], densities[2], rtol=1e-8, atol=1e-12)
    moments = [np.trapezoid((densities[0] * noise**k).numpy(), noise.numpy()) for k in range(3)]
    assert moments == pytest.approx([1, 0, 1], abs=1e-8)


def test_pathwise_gradient_keeps_the_noise_fixed():
    """∂λ/∂α = λ(εψ₂/(2√ψ₁) + ψ₁) and ∂λ/∂β = −λ/β, draw by draw."""
    alpha, beta = leaves(3.65, 0.24, 50)
    draws = GRepGamma(alpha, beta).rsample()
    of_shape, of_rate = torch.autograd.grad(draws.sum(), (alpha, beta))
    psi1, psi2 = torch.polygamma(1, alpha), torch.polygamma(2, alpha)
    noise = (draws.log() - torch.digamma(alpha) + beta.log()) / psi1.sqrt()
    torch.testing.assert_close(of_shape, draws * (noise * psi2 / (2 * psi1.sqrt()) + psi1))
    torch.testing.assert_close(of_rate, -draws / beta)


def test_each_image_has_its_own_gradient():
    """No Jacobian over the batch: what image i measures does not move the parameters of image j."""
    alpha, beta = torch.full((5, 3), 3.0, requires_grad=True), torch.full((5, 3), 2.0, requires_grad=True)
    gamma = GRepGamma(alpha, beta).to_event(1)
    draws = gamma.rsample()
    for i in range(5):
        parts = gamma.score_parts(draws)
        row = draws[i].square().sum() + 10.0 * parts.score_function[i] + parts.log_prob[i]
        for gradient in torch.autograd.grad(row, (alpha, beta), retain_graph=True):
            touched = gradient.abs().sum(1) > 0
            assert touched.tolist() == [j == i for j in range(5)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda gamma: gamma.expand((5, 3)).to_event(1),
        lambda gamma: gamma.to_event(1).expand((5,)),
        lambda gamma: gamma.to_event(1).expand_by((5,)),
        lambda gamma: gamma.expand((5, 3)).to_event(1).mask(torch.ones(5, dtype=torch.bool)),
    ],
    ids=["expand to_event", "to_event expand", "to_event expand_by", "mask"],
)
def test_wrapping_keeps_the_score(wrap):
    alpha = torch.tensor([0.7, 3.65, 8.25], requires_grad=True)
    gamma = wrap(GRepGamma(alpha, torch.ones(3)))
    draws = gamma.rsample().detach()
    parts = gamma.score_parts(draws)
    expected = GRepGamma(alpha, torch.ones(3)).score_parts(draws).score_function.sum(-1)
    assert parts.score_function.shape == (5,)
    torch.testing.assert_close(parts.score_function, expected)
    torch.testing.assert_close(parts.entropy_term, dist.Gamma(alpha, torch.ones(3)).log_prob(draws).sum(-1))
    assert (torch.autograd.grad(parts.score_function.sum(), alpha)[0] != 0).all()


def test_to_event_without_a_number_takes_every_dim():
    assert GRepGamma(torch.ones(4, 3), torch.ones(3)).to_event().event_shape == (4, 3)


def test_trace_elbo_over_a_vector_site_has_the_exact_gradient(within_errors):
    """λ ~ Gamma(8.25, 3.62), x | λ ~ N(0, 1/λ): −ELBO = KL − E½log λ + ½x²E[λ] + const, exact in α and β."""
    x = torch.tensor([0.1, 2.0, 1.0], dtype=torch.float64)
    prior = [torch.full((3,), value, dtype=torch.float64) for value in (8.25, 3.62)]
    alpha, beta = (
        torch.tensor(values, dtype=torch.float64).expand(DRAWS, 3).clone().requires_grad_()
        for values in ([3.65, 2.0, 0.7], [0.24, 1.0, 1.0])
    )

    def guide() -> None:
        with pyro.plate("image", DRAWS):
            pyro.sample("precision", GRepGamma(alpha, beta).to_event(1))

    def model() -> None:
        with pyro.plate("image", DRAWS):
            precision = pyro.sample("precision", dist.Gamma(*prior).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros_like(precision), precision**-0.5).to_event(1), obs=x)

    sampled = torch.autograd.grad(Trace_ELBO().differentiable_loss(model, guide), (alpha, beta))
    a, b = (parameter[0].detach().requires_grad_() for parameter in (alpha, beta))
    kl = kl_divergence(Gamma(a, b), Gamma(*prior))
    exact = torch.autograd.grad((kl - (torch.digamma(a) - b.log()) / 2 + x.square() * a / b / 2).sum(), (a, b))
    for ours, expected in zip(sampled, exact, strict=True):
        within_errors(ours, expected, resolution=0.1)
