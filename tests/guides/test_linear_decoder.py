"""The Normal-Gamma VAE with a linear decoder: exact value and gradient against every estimator.

With x | z ~ N(Wz, σ²) the −ELBO of (μ, p, W) is closed, as E‖x − Wz‖² = ‖x − Wμ‖² + Σ_k ‖w_k‖² β(p_k) / (α(p_k) − 1)
(derived by hand). Each image of a batch gets parameters of its own: a batch holds independent gradient estimates.
"""

import math
from types import SimpleNamespace

import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn
from torch.distributions import Gamma, kl_divergence

from guides import NormalGammaGuide
from ppvae import VAE, BetaELBO
from ppvae.priors import NormalGammaPrior

LATENTS, PIXELS, SCALE = 2, 4, 0.5
MEANS, PROBABILITIES = (0.8, -0.3), (0.31, 0.35)
X = torch.tensor([1.0, -0.5, 0.3, 2.0], dtype=torch.float64)
DRAWS = 20_000


class Codes(nn.Module):
    """Stands for an encoder: the features of each image are free."""

    features = 2 * LATENTS

    def __init__(self, codes: torch.Tensor) -> None:
        super().__init__()
        self.codes = nn.Parameter(codes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the signature of an encoder
        return self.codes


class LinearNormal(nn.Module):
    """x | z ~ N(Wz, scale²), with one W for each image."""

    def __init__(self, weights: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.scale = scale

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        mean = torch.einsum("bdk,bk->bd", self.weights, z)[:, None, None, :]
        return dist.Normal(mean, self.scale).to_event(3)


def point(loadings: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The features (μ, logit p) and the weights, scaled, at which everything is compared."""
    codes = torch.cat([torch.tensor(MEANS), torch.logit(torch.tensor(PROBABILITIES))]).double()
    weights = torch.linspace(-1, 1.2, PIXELS * LATENTS, dtype=torch.float64).reshape(PIXELS, LATENTS)
    return codes, loadings * weights


def linear_pair(estimator: str, draws: int = DRAWS, *, scale: float = SCALE, loadings: float = 1.0, **options):
    codes, weights = (value.expand(draws, *value.shape).clone() for value in point(loadings))
    guide = NormalGammaGuide(Codes(codes), LATENTS, estimator=estimator, **options).double()
    with torch.no_grad():
        for head, block in ((guide.loc, 0), (guide.logit, 1)):
            head.weight.copy_(torch.eye(2 * LATENTS).unflatten(0, (2, LATENTS))[block])
            head.bias.zero_()
    likelihood = LinearNormal(weights, scale)
    model = VAE(NormalGammaPrior(LATENTS).double(), likelihood)
    images = X.expand(draws, 1, 1, PIXELS)
    return SimpleNamespace(model=model, guide=guide, images=images, leaves=(guide.encoder.codes, likelihood.weights))


def exact_loss(
    guide: NormalGammaGuide, beta: float, loadings: float = 1.0
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """−ELBO with the rate weighted, and its gradient with respect to (μ, logit p) and W."""
    codes, weights = (value.requires_grad_() for value in point(loadings))
    mean, logit = codes.chunk(2)
    shape, rate = guide.gamma_parameters(logit.sigmoid())
    squares = (X - weights @ mean).square().sum() + (weights.square().sum(0) * rate / (shape - 1)).sum()
    distortion = squares / (2 * SCALE**2) + PIXELS / 2 * math.log(2 * math.pi * SCALE**2)
    prior = Gamma(*(torch.tensor(v, dtype=torch.float64) for v in (8.25, 3.62)))
    kl = (kl_divergence(Gamma(shape, rate), prior) + 0.5 * shape / rate * mean.square()).sum()
    loss = distortion + beta * kl
    return loss.detach(), torch.autograd.grad(loss, (codes, weights))


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("objective", ["mean_field", "trace"])
@pytest.mark.parametrize("estimator", ["implicit", "g-rep"])
def test_objective_has_the_exact_value_and_gradient(estimator, objective, beta, within_errors):
    pair = linear_pair(estimator)
    elbo = BetaELBO(beta=beta, estimator=objective)
    value, exact = exact_loss(pair.guide, beta)
    terms = elbo.measure(pair.model, pair.guide, pair.images)
    within_errors((terms.distortion + beta * terms.rate).detach(), value, resolution=0.05)
    loss = elbo.loss(terms)
    torch.testing.assert_close(loss, (terms.distortion + beta * terms.rate).mean())
    for gradient, expected in zip(torch.autograd.grad(loss, pair.leaves), exact, strict=True):
        within_errors(DRAWS * gradient, expected, resolution=0.08)


@pytest.mark.parametrize("estimator", ["implicit", "g-rep"])
def test_trace_elbo_has_the_exact_gradient(estimator, within_errors):
    """Plain Pyro on the same pair: nothing of the gradient lives in our objective alone."""
    pair = linear_pair(estimator)
    loss = Trace_ELBO().differentiable_loss(pair.model, pair.guide, pair.images)
    _, exact = exact_loss(pair.guide, 1.0)
    for gradient, expected in zip(torch.autograd.grad(loss, pair.leaves), exact, strict=True):
        within_errors(gradient, expected, resolution=0.08)


def test_mean_field_uses_the_mean_precision():
    """Eq. 9: the rate of the mean-field objective does not depend on the sampled λ at all."""
    pair = linear_pair("implicit", draws=50)
    rate = BetaELBO().measure(pair.model, pair.guide, pair.images).rate
    torch.testing.assert_close(rate, rate[:1].expand(50))
    sampled = BetaELBO(estimator="trace").measure(pair.model, pair.guide, pair.images).rate
    assert sampled.std() > 0.1


@pytest.mark.parametrize("ours", [True, False], ids=["BetaELBO", "Trace_ELBO"])
def test_the_score_term_counts_at_small_shapes(ours, within_errors):
    """At α = 0.8 (and a decoder of zeros, as Var z is infinite) the gradient of p is right with it, wrong without."""
    draws, ends = 60_000, {"informative": (0.8, 0.3), "slope": 60.0}
    pair = linear_pair("g-rep", draws, loadings=0.0, **ends)
    _, (exact, _) = exact_loss(pair.guide, 1.0, 0.0)
    terms = BetaELBO(estimator="trace").measure(pair.model, pair.guide, pair.images)
    (without,) = torch.autograd.grad((terms.distortion + terms.rate).sum(), pair.leaves[0], retain_graph=True)
    loss = draws * BetaELBO(estimator="trace").loss(terms)
    loss = loss if ours else Trace_ELBO().differentiable_loss(pair.model, pair.guide, pair.images)
    (gradient,) = torch.autograd.grad(loss, pair.leaves[0])
    within_errors(gradient[:, LATENTS:], exact[LATENTS:], resolution=0.1)
    missed = (without.mean(0) - exact)[LATENTS:].abs() / (without.std(0)[LATENTS:] / draws**0.5)
    assert missed.max() > 10


@pytest.mark.parametrize("objective", ["mean_field", "trace"])
def test_leave_one_out_baseline_lowers_the_variance(objective):
    """Far from the data the distortion is huge and the plain score term drowns the gradient of p; both are unbiased."""
    pair = linear_pair("g-rep", scale=0.02)
    elbo = BetaELBO(estimator=objective)
    terms = elbo.measure(pair.model, pair.guide, 20 * pair.images)
    cost = terms.distortion + terms.rate
    plain = (cost + cost.detach() * terms.score).sum()
    (without,) = torch.autograd.grad(plain, pair.leaves[0], retain_graph=True)
    (with_baseline,) = torch.autograd.grad(DRAWS * elbo.loss(terms), pair.leaves[0])
    without, with_baseline = without[:, LATENTS:], with_baseline[:, LATENTS:]
    assert (without.var(0) > 10 * with_baseline.var(0)).all()
    difference = without - with_baseline
    assert (difference.mean(0).abs() <= 5 * difference.std(0) / DRAWS**0.5).all()


def test_each_image_has_its_own_gradient():
    pair = linear_pair("g-rep", draws=4)
    terms = BetaELBO(estimator="trace").measure(pair.model, pair.guide, pair.images)
    rows = terms.distortion + terms.rate + 7.0 * terms.score
    for i in range(4):
        for gradient in torch.autograd.grad(rows[i], pair.leaves, retain_graph=True):
            assert [bool(row.any()) for row in gradient] == [j == i for j in range(4)]
