"""A linear β-VAE is probabilistic PCA with noise βσ² (Lucas et al. 2019): its optimum is known in closed form.

The objective under test is exact and deterministic here: the batch holds data of a given covariance and noise of
covariance one, uncorrelated with the data, so that one draw for each image is the population's expectation.
"""

import math
from functools import cache

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import GECO, VAE, BetaELBO, Capacity, FreeBits, Objective, Program
from ppvae.priors import ConjugateARDPrior, NormalPrior

VARIANCES = torch.tensor([3.0, 2.0, 1.2, 0.7, 0.35, 0.15, 0.05, 0.02], dtype=torch.float64)
NOISE = 0.1  # σ²
LATENTS, PIXELS, IMAGES = 6, 8, 20


class Drawn(dist.Normal):
    """A normal whose draw uses the noise it is given."""

    def __init__(self, loc: torch.Tensor, scale: torch.Tensor, noise: torch.Tensor) -> None:
        super().__init__(loc, scale)
        self.noise = noise

    def expand(self, batch_shape: torch.Size, _instance: None = None) -> "Drawn":
        return Drawn(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.noise)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008 - torch's signature
        assert not sample_shape
        return self.loc + self.scale * self.noise


class LinearGuide(Program):
    """q(z | x) = N(Vx, diag s²): a linear mean and one free variance for each latent."""

    def __init__(self, noise: torch.Tensor) -> None:
        super().__init__()
        self.loc = nn.Linear(PIXELS, LATENTS, bias=False)
        self.log_variance = nn.Parameter(torch.zeros(LATENTS))
        self.noise = noise

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        loc = self.loc(images.flatten(1))
        scale = (0.5 * self.log_variance).exp().expand_as(loc)
        with pyro.plate("image", len(images), dim=-1):
            return pyro.sample("z", Drawn(loc, scale, self.noise).to_event(1))


class LinearLikelihood(nn.Module):
    """p(x | z) = N(Wz, σ²)."""

    def __init__(self) -> None:
        super().__init__()
        self.loadings = nn.Linear(LATENTS, PIXELS, bias=False)

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.loadings(z)[:, None, None, :], NOISE**0.5).to_event(3)


def exact_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images whose covariance has the given eigenvalues, its eigenvectors, and noise orthogonal to both."""
    raw = torch.randn(IMAGES, PIXELS + LATENTS, dtype=torch.float64)
    white = torch.linalg.qr(raw - raw.mean(0)).Q * IMAGES**0.5
    axes = torch.linalg.qr(torch.randn(PIXELS, PIXELS, dtype=torch.float64)).Q
    images = (white[:, :PIXELS] * VARIANCES.sqrt()) @ axes.T
    return images[:, None, None, :], axes, white[:, PIXELS:]


def optimum(beta: float):
    """The trained pair's loadings, the axes of the data, the images, and the terms at the optimum."""
    model, guide, images, axes = trained(beta)
    with torch.no_grad():
        return model.likelihood.loadings.weight, axes, images, BetaELBO().measure(model, guide, images)


@cache
def trained(beta: float):
    """The pair at the optimum of the β-VAE, the images and their axes; tests read it, and each finds the same seed."""
    images, axes, noise = exact_batch()
    model, guide = VAE(NormalPrior(LATENTS), LinearLikelihood()).double(), LinearGuide(noise).double()
    descend(BetaELBO(beta=beta), model, guide, images)
    return model, guide, images, axes


def descend(objective: Objective, model: VAE, guide: LinearGuide, images: torch.Tensor) -> None:
    """To the optimum, by a quasi-Newton method."""
    optimiser = torch.optim.LBFGS(
        [*model.parameters(), *guide.parameters()],
        max_iter=400,
        history_size=20,
        tolerance_grad=1e-9,
        tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = objective(model, guide, images)
        loss.backward()
        return loss

    optimiser.step(closure)


def test_the_batch_is_the_population():
    images, axes, noise = exact_batch()
    flat = images.flatten(1)
    torch.testing.assert_close(flat.T @ flat / IMAGES, axes @ VARIANCES.diag() @ axes.T)
    torch.testing.assert_close(noise.T @ noise / IMAGES, torch.eye(LATENTS, dtype=torch.float64))
    assert max((noise.T @ flat).abs().max(), flat.mean(0).abs().max(), noise.mean(0).abs().max()) < 1e-12


@pytest.mark.parametrize(("beta", "active"), [(1.0, 6), (2.0, 5), (4.0, 4), (10.0, 3)])
def test_optimum_is_pca_with_noise_beta_sigma_squared(beta, active):
    """KL_i = ½ log(λ_i / βσ²) for λ_i > βσ², zero otherwise; WWᵀ = U(Λ − βσ²)₊Uᵀ; at β = 1 there is no gap."""
    loadings, axes, images, terms = optimum(beta)
    kl = terms.rates["z"][1].mean(0).sort(descending=True).values
    expected = (0.5 * (VARIANCES[:LATENTS] / (beta * NOISE)).log()).clamp(min=0)
    assert int((kl > 0.01).sum()) == int((expected > 0).sum()) == active
    torch.testing.assert_close(kl, expected, rtol=1e-4, atol=1e-4)
    excess = (VARIANCES[:LATENTS] - beta * NOISE).clamp(min=0)
    kept = axes[:, :LATENTS]
    torch.testing.assert_close(loadings @ loadings.T, kept @ excess.diag() @ kept.T, rtol=0, atol=1e-3)
    if beta == 1:
        covariance = loadings @ loadings.T + NOISE * torch.eye(PIXELS)
        marginal = torch.distributions.MultivariateNormal(torch.zeros(PIXELS).double(), covariance)
        likelihood = marginal.log_prob(images.flatten(1)).mean()
        assert (terms.distortion + terms.rate).mean().item() == pytest.approx(-likelihood.item(), abs=1e-6)


def test_without_a_rate_it_is_plain_pca():
    """β = 0: the distortion reaches PCA's residual and the posterior shrinks, so the rate grows without bound."""
    _, _, _, terms = optimum(0.0)
    residual = VARIANCES[LATENTS:].sum().item()
    floor = residual / (2 * NOISE) + PIXELS / 2 * math.log(2 * math.pi * NOISE)
    assert floor < terms.distortion.mean().item() < floor + 0.005
    assert terms.rate.mean().item() > 3 * 0.5 * (VARIANCES[:LATENTS] / NOISE).log().sum().item()


def gradient(objective: Objective, numbers: list[float], model: VAE, guide: LinearGuide, images: torch.Tensor):
    loss, _ = objective.evaluate(model, guide, images, torch.tensor(numbers, dtype=torch.float64))
    parts = torch.autograd.grad(loss, [*model.parameters(), *guide.parameters()], allow_unused=True)
    return torch.cat([part.flatten() for part in parts if part is not None])


@pytest.mark.parametrize("beta", [2.0, 4.0])
def test_capacity_is_water_filling(beta):
    """At C = ½ Σ log(λᵢ/βσ²) over λᵢ > βσ², the optimum of the capacity objective is the β-VAE's, if γ > β.

    There the objective has a kink; the β-VAE's optimum is the minimum because zero lies between the gradients of its
    two sides, and at γ < β it does not: KL then falls below C.
    """
    model, guide, images, _ = trained(beta)
    capacity = (0.5 * (VARIANCES[:LATENTS] / (beta * NOISE)).log()).clamp(min=0).sum().item()
    rate = BetaELBO().measure(model, guide, images).rate.mean().item()
    assert rate == pytest.approx(capacity, abs=1e-4)
    of_rate = gradient(BetaELBO(beta=1), [], model, guide, images) - gradient(
        BetaELBO(beta=0), [], model, guide, images
    )
    for gamma in (0.5 * beta, 1.5 * beta):
        below, above = (
            gradient(Capacity(gamma=gamma), [capacity + shift], model, guide, images) for shift in (0.1, -0.1)
        )
        torch.testing.assert_close(above - below, 2 * gamma * of_rate)
        # below = ∇D − γ∇KL and above = ∇D + γ∇KL with ∇D = −β∇KL
        torch.testing.assert_close(below, -(beta + gamma) * of_rate, rtol=0, atol=1e-3 * of_rate.abs().max().item())
        torch.testing.assert_close(above, (gamma - beta) * of_rate, rtol=0, atol=1e-3 * of_rate.abs().max().item())
    assert of_rate.norm() > 0.1


def test_free_bits_are_water_filling_too():
    """With λ nats free for the code as a whole, above what the ELBO would spend, the optimum spends just λ.

    It is the optimum of the β-VAE with β < 1 whose KL is λ: the gradient is −β∇KL just below λ, where the KL is free,
    and (1 − β)∇KL just above, so that zero lies between. (The optimiser leaves a gradient below 1e-3 of ∇KL's.)
    """
    beta = 0.5
    model, guide, images, _ = trained(beta)
    nats = (0.5 * (VARIANCES[:LATENTS] / (beta * NOISE)).log()).clamp(min=0).sum().item()
    assert nats > (0.5 * (VARIANCES[:LATENTS] / NOISE).log()).clamp(min=0).sum().item()
    assert BetaELBO().measure(model, guide, images).rate.mean().item() == pytest.approx(nats, abs=1e-4)
    of_rate = gradient(BetaELBO(beta=1), [], model, guide, images) - gradient(
        BetaELBO(beta=0), [], model, guide, images
    )
    close = {"rtol": 0, "atol": 1e-3 * of_rate.abs().max().item()}
    below = gradient(FreeBits(nats=nats + 0.1, group="site"), [], model, guide, images)
    above = gradient(FreeBits(nats=nats - 0.1, group="site"), [], model, guide, images)
    torch.testing.assert_close(below, -beta * of_rate, **close)
    torch.testing.assert_close(above, (1 - beta) * of_rate, **close)
    assert of_rate.norm() > 0.1


def water_filled(level: float) -> tuple[float, float]:
    """Mean squared error of a pixel and rate, nats, of the optimum whose kept axes have the error ``level`` each."""
    kept, lost = VARIANCES[:LATENTS], VARIANCES[LATENTS:]
    error = (kept.clamp(max=level).sum() + lost.sum()) / PIXELS
    return float(error), float((0.5 * (kept / level).log()).clamp(min=0).sum())


@pytest.mark.parametrize("beta", [2.0, 4.0])
def test_a_reconstruction_error_is_met_by_water_filling(beta):
    """At the error of the level θ = βσ² the optimum is the β-VAE's with λ = σ²/θ, where GECO has neither a gradient
    nor a reason to move λ."""
    model, guide, images, _ = trained(beta)
    squared_error, rate = water_filled(beta * NOISE)
    objective = GECO(error=squared_error**0.5, start=1 / beta)
    terms = objective.measure(model, guide, images)
    assert terms.recorded["squared_error"][1].mean().item() == pytest.approx(squared_error, rel=1e-4)
    assert terms.rate.mean().item() == pytest.approx(rate, abs=1e-4)
    of_rate = gradient(BetaELBO(beta=1), [], model, guide, images) - gradient(
        BetaELBO(beta=0), [], model, guide, images
    )
    found = gradient(objective, [], model, guide, images)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-3 * of_rate.abs().max().item())
    assert float(objective.state.multiplier) == pytest.approx(1 / beta, rel=1e-5)


@pytest.mark.parametrize("start", [1e-3, pytest.param(1.0, marks=pytest.mark.long)])
def test_training_finds_the_multiplier_of_an_error(start):
    """From above, where all latents are in use, and from a rate that shuts them all out: λ = σ²/θ and its rate."""
    level = 0.4  # between the fourth and the fifth variance
    squared_error, rate = water_filled(level)
    images, _, noise = exact_batch()
    model, guide = VAE(NormalPrior(LATENTS), LinearLikelihood()).double(), LinearGuide(noise).double()
    objective = GECO(error=squared_error**0.5, start=start, rate=0.02)
    optimiser = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.02)
    for step in range(1000):
        for group in optimiser.param_groups:
            group["lr"] = 0.02 if step < 700 else 0.002
        optimiser.zero_grad()
        objective(model, guide, images).backward()
        optimiser.step()
    with torch.no_grad():
        terms = objective.measure(model, guide, images)
    assert float(objective.state.multiplier) == pytest.approx(NOISE / level, rel=0.01)
    assert terms.rate.mean().item() == pytest.approx(rate, rel=0.01)
    assert terms.recorded["squared_error"][1].mean().item() ** 0.5 == pytest.approx(squared_error**0.5, rel=1e-3)
    assert int((terms.rates["z"][1].mean(0) > 0.01).sum()) == 4


@pytest.mark.parametrize(("beta", "active"), [pytest.param(2.0, 5, marks=pytest.mark.long), (10.0, 3)])
def test_automatic_relevance_is_pca_in_other_units(beta, active):
    """Where update and optimum alternate until neither moves, α is the conjugate one of the codes in use.

    For PCA's loadings w and codes in any units w² b/a = λᵢ − βσ², zero for the latents left over: the relevances, and
    E[z²] = b / a but for the hyper-prior's share. KLs and loss are the plain β-VAE's, which the prior does not change.
    """
    images, _, noise = exact_batch()
    prior = ConjugateARDPrior(LATENTS, shape=1e-9, rate=1e-9, window=1e-9)  # of the last batch alone
    model, guide = VAE(prior, LinearLikelihood()).double(), LinearGuide(noise).double()
    with torch.no_grad():
        model.likelihood.loadings.weight.mul_(torch.tensor([5.0, 1.0, 0.2, 1.0, 3.0, 0.5]))
        for _ in range(2):
            prior.train()
            BetaELBO().measure(model, guide, images)
            prior.eval()
            with torch.enable_grad():
                descend(BetaELBO(beta=beta), model, guide, images)
        before = prior.variance
        prior.train()
        terms = BetaELBO().measure(model, guide, images)
    kl = terms.rates["z"][1].mean(0)
    expected = (0.5 * (VARIANCES[:LATENTS] / (beta * NOISE)).log()).clamp(min=0)
    torch.testing.assert_close(kl.sort(descending=True).values, expected, rtol=1e-3, atol=1e-3)
    used = kl > 0.01
    assert int(used.sum()) == active
    torch.testing.assert_close(prior.variance[used], before[used], rtol=1e-3, atol=0)  # the stationary point
    assert prior.variance[used].std() > 0.01
    worth = model.likelihood.loadings.weight.detach().square().sum(0) * prior.variance
    excess = (VARIANCES[:LATENTS] - beta * NOISE).clamp(min=0)
    torch.testing.assert_close(worth.sort(descending=True).values, excess, rtol=1e-3, atol=1e-3)
