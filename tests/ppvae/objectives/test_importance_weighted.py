"""The importance-weighted bound: its definition, its order in K, its gradients by quadrature, and exact weights."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI
from torch import nn

from guides import InverseAutoregressiveGuide
from ppvae import VAE, BetaELBO, ImportanceWeighted, Program, UserError, check_pair, log_marginal
from ppvae.distributions import GRepGamma
from ppvae.priors import NormalPrior

LOADING, NOISE, IMAGE = 1.3, 0.8, 0.9


class Line(nn.Module):
    """p(x | z) = N(w·z, σ²) of a single pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.loading = nn.Parameter(torch.tensor(LOADING, dtype=torch.float64))

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal((self.loading * z)[..., None, None], NOISE).to_event(3)


class FreeNormal(Program):
    """q(z | x) = N(loc, scale²), the same for all images."""

    def __init__(self, loc: float, log_scale: float) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(loc, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.tensor(log_scale, dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            loc = self.loc.expand(len(images), 1)
            return pyro.sample("z", dist.Normal(loc, self.log_scale.exp()).to_event(1))


def exact_posterior() -> tuple[float, float]:
    """Mean and log scale of p(z | x)."""
    precision = 1 + LOADING**2 / NOISE**2
    return LOADING * IMAGE / NOISE**2 / precision, -0.5 * math.log(precision)


def log_evidence() -> float:
    variance = LOADING**2 + NOISE**2
    return -0.5 * (IMAGE**2 / variance + math.log(2 * math.pi * variance))


def line_pair(loc: float = -0.4, log_scale: float = 0.2, images: int = 1):
    model, guide = VAE(NormalPrior(1), Line()).double(), FreeNormal(loc, log_scale)
    return model, guide, torch.full((images, 1, 1, 1), IMAGE, dtype=torch.float64)


def bound_of_two(loading: torch.Tensor, loc: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """E log ½(w₁ + w₂) by Gauss-Hermite quadrature over both draws; error below 1e-6 with 80 nodes."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(80))
    weights = weights / weights.sum()
    z = loc + log_scale.exp() * nodes
    log_weight = (
        dist.Normal(0.0, 1.0).log_prob(z)
        + dist.Normal(loading * z, NOISE).log_prob(torch.tensor(IMAGE, dtype=torch.float64))
        - dist.Normal(loc, log_scale.exp()).log_prob(z)
    )
    both = torch.logaddexp(log_weight[:, None], log_weight[None, :]) - math.log(2)
    return (weights[:, None] * weights[None, :] * both).sum()


@pytest.mark.parametrize("doubly", [False, True])
def test_value_and_gradient_are_those_of_the_bound(doubly, within_errors):
    """Both estimators against quadrature; 20 000 images of one pixel are independent draws."""
    model, guide, images = line_pair(images=20_000)
    images.requires_grad_(False)
    exact = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (LOADING, -0.4, 0.2)]
    value = bound_of_two(*exact)
    expected = torch.autograd.grad(-value, exact)
    objective = ImportanceWeighted(samples=2, doubly_reparameterised=doubly)
    parameters = [model.likelihood.loading, guide.loc, guide.log_scale]
    values, gradients = [], []
    for _ in range(40):
        loss = objective(model, guide, images[:2000])
        values.append(loss.detach())
        gradients.append(torch.stack(torch.autograd.grad(loss, parameters)))
    within_errors(torch.stack(values), -value.detach(), resolution=0.02)
    within_errors(torch.stack(gradients), torch.stack(expected), resolution=0.05)


class Rate(nn.Module):
    """p(x | z) = N(z, 0.5²) of a single pixel."""

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal(z[..., None, None], 0.5).to_event(3)


class GammaPrior(nn.Module):
    latents = 1

    def forward(self) -> torch.Tensor:
        return pyro.sample("z", dist.Gamma(torch.full((1,), 1.5).double(), 1.0).to_event(1))


class FreeGamma(Program):
    """q(z | x) = Gamma(shape, rate), the same for all images."""

    def __init__(self, family: type) -> None:
        super().__init__()
        self.family = family
        self.shape = nn.Parameter(torch.tensor(0.9).double())
        self.rate = nn.Parameter(torch.tensor(1.2).double())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            return pyro.sample("z", self.family(self.shape.expand(len(images), 1), self.rate).to_event(1))


def gamma_bound_of_two(shape: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """E log ½(w₁ + w₂) over two Gamma draws, by the trapezoidal rule in log z; error below 1e-6 with 600 nodes."""
    log_z = torch.linspace(-30, 4, 600).double()
    z = log_z.exp()
    q = dist.Gamma(shape, rate).log_prob(z)
    log_p = dist.Gamma(torch.tensor(1.5).double(), 1.0).log_prob(z) + dist.Normal(z, 0.5).log_prob(
        torch.tensor(IMAGE).double()
    )
    mass = (q + log_z).exp() * (log_z[1] - log_z[0])
    both = torch.logaddexp((log_p - q)[:, None], (log_p - q)[None, :]) - math.log(2)
    return (mass[:, None] * mass[None, :] * both).sum()


@pytest.mark.parametrize("family", [dist.Gamma, GRepGamma], ids=["implicit", "g-rep"])
def test_gradients_of_a_gamma_are_those_of_the_bound(family, within_errors):
    """Two draws at a shape below one, where a score averaged over the draws in place of summed is far off."""
    exact = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.9, 1.2)]
    value = gamma_bound_of_two(*exact)
    expected = torch.autograd.grad(-value, exact)
    model, guide = VAE(GammaPrior(), Rate()), FreeGamma(family)
    images, objective = torch.full((20_000, 1, 1, 1), IMAGE).double(), ImportanceWeighted(samples=2)
    values, gradients = [], []
    for _ in range(30):
        loss = objective(model, guide, images)
        values.append(loss.detach())
        gradients.append(torch.stack(torch.autograd.grad(loss, [guide.shape, guide.rate])))
    within_errors(torch.stack(values), -value.detach(), resolution=0.02)
    within_errors(torch.stack(gradients), torch.stack(expected), resolution=0.1)


def test_double_reparameterisation_lowers_the_guides_noise():
    """Where the guide is exact its gradient is zero with no noise at all; the plain estimator's is not."""
    model, guide, images = line_pair(*exact_posterior())
    noise = {}
    for doubly in (False, True):
        objective = ImportanceWeighted(samples=8, doubly_reparameterised=doubly)
        torch.manual_seed(1)
        draws = [
            torch.stack(torch.autograd.grad(objective(model, guide, images), [guide.loc, guide.log_scale]))
            for _ in range(50)
        ]
        noise[doubly] = torch.stack(draws).abs().max().item()
    assert noise[True] < 1e-12
    assert noise[False] > 0.1


def test_doubly_reparameterised_values_are_the_bounds(build):
    for name in ("normal", "normal-gamma implicit"):
        pair = build(name)
        values = []
        for doubly in (False, True):
            torch.manual_seed(3)
            objective = ImportanceWeighted(samples=3, doubly_reparameterised=doubly)
            values.append(objective(pair.model, pair.guide, pair.images))
        torch.testing.assert_close(*values, rtol=1e-5, atol=1e-4)


def test_one_sample_is_the_elbo(pair):
    """Values, and gradients with their score terms."""
    results = []
    for objective in (ImportanceWeighted(samples=1), BetaELBO(estimator="trace")):
        torch.manual_seed(3)
        loss = objective(pair.model, pair.guide, pair.images)
        parameters = [*pair.model.parameters(), *pair.guide.parameters()]
        results.append((loss, torch.autograd.grad(loss, parameters, allow_unused=True)))
    torch.testing.assert_close(results[0][0], results[1][0])
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_the_bound_rises_with_the_samples_towards_the_evidence():
    """L₁ ≤ L₂ ≤ L₈ ≤ L₆₄ ≤ log p(x), each by more than its error of 40 000 draws' mean."""
    model, guide, images = line_pair(images=40_000)
    bounds = [-float(ImportanceWeighted(samples=k)(model, guide, images).detach()) for k in (1, 2, 8, 64)]
    exact = -float(bound_of_two(*(torch.tensor(v, dtype=torch.float64) for v in (LOADING, -0.4, 0.2))))
    assert bounds[1] == pytest.approx(-exact, abs=0.05)
    assert bounds[0] + 0.1 < bounds[1] < bounds[2] - 0.1 < bounds[3]
    assert bounds[3] <= log_evidence() + 0.01


def test_weights_of_the_exact_posterior_are_constant():
    model, guide, images = line_pair(*exact_posterior(), images=3)
    for samples in (1, 7):
        loss = ImportanceWeighted(samples=samples)(model, guide, images)
        assert -loss.item() == pytest.approx(log_evidence(), abs=1e-12)
    result = log_marginal(model, guide, images, 50, batch_size=20)
    np.testing.assert_allclose(result["log_marginal"], log_evidence(), atol=1e-12)
    np.testing.assert_allclose(result["elbo"], log_evidence(), atol=1e-12)
    np.testing.assert_allclose(result["effective_samples"], 50, rtol=1e-9)


def test_log_marginal_meets_the_evidence():
    """The relative variance of a weight is below 3 here, so 20 000 draws leave an error of about 0.01 nats."""
    model, guide, images = line_pair(0.3, 0.0, images=4)
    result = log_marginal(model, guide, images, 20_000, batch_size=7001, seed=1)
    np.testing.assert_allclose(result["log_marginal"], log_evidence(), atol=0.05)
    assert (result["elbo"] < result["log_marginal"]).all()
    assert ((result["effective_samples"] > 1000) & (result["effective_samples"] < 20_000)).all()
    again = log_marginal(model, guide, images, 20_000, batch_size=7001, seed=1)
    assert again.equals(result)


def test_log_marginal_leaves_everything_as_it_was(build):
    pair = build("normal")
    state = torch.get_rng_state()
    log_marginal(pair.model, pair.guide, pair.images, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert pair.model.training
    assert pair.guide.training
    with pytest.raises(UserError, match="num_samples=0"):
        log_marginal(pair.model, pair.guide, pair.images, 0)


def test_an_unreparameterised_guide_is_refused(build):
    pair = build("normal-gamma g-rep")
    with pytest.raises(UserError, match=r"'precision' is not.*doubly_reparameterised=False"):
        check_pair(pair.model, pair.guide, pair.images, ImportanceWeighted(doubly_reparameterised=True))
    check_pair(pair.model, pair.guide, pair.images, ImportanceWeighted())


def test_mistakes_are_named_in_one_line():
    with pytest.raises(UserError, match=r"samples=0.*at least 1"):
        ImportanceWeighted(samples=0)


@pytest.mark.parametrize("name", ["normal", "normal-gamma implicit"])
def test_pyros_svi_trains_the_guide_by_doubly_reparameterised_gradients(name, build):
    pair = build(name)
    before = {key: value.clone() for key, value in pair.guide.named_parameters()}
    objective = ImportanceWeighted(samples=3, doubly_reparameterised=True)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), objective)
    svi.step(pair.images)
    assert not [key for key, value in pair.guide.named_parameters() if torch.equal(value, before[key])]


def test_doubly_reparameterised_gradients_of_several_sites_are_unbiased(build):
    """Of the guide's parameters, against the plain estimator's: each mean of 40 batches of ten times the images within
    its errors."""
    pair = build("normal-gamma implicit")
    images = pair.images.repeat(10, 1, 1, 1)
    leaves = [pair.guide.loc.bias, pair.guide.logit.bias]
    means, spreads = {}, {}
    for doubly in (False, True):
        objective = ImportanceWeighted(samples=4, doubly_reparameterised=doubly)
        torch.manual_seed(int(doubly))
        draws = torch.stack(
            [torch.cat(torch.autograd.grad(objective(pair.model, pair.guide, images), leaves)) for _ in range(40)]
        )
        means[doubly], spreads[doubly] = draws.mean(0), draws.std(0) / 40**0.5
    error = (spreads[False] ** 2 + spreads[True] ** 2).sqrt()
    assert ((means[True] - means[False]).abs() < 5 * error).all()
    assert (error < 0.2 * means[False].abs().max()).all()


def test_a_random_encoder_is_scored_under_its_own_draw(build):
    """With dropout, z of one mask scored under another's q would lift the bound by many nats."""
    pair = build("normal")
    pair.guide.encoder.layers.append(nn.Dropout(0.5))
    values = []
    for doubly in (False, True):
        torch.manual_seed(3)
        objective = ImportanceWeighted(samples=3, doubly_reparameterised=doubly)
        values.append(objective(pair.model, pair.guide, pair.images))
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-4)


def test_a_flow_that_inverts_latent_by_latent_is_refused(build):
    pair = build("normal")
    guide = InverseAutoregressiveGuide(pair.guide.encoder, 3, hidden=[8])
    check_pair(pair.model, guide, pair.images, ImportanceWeighted())
    with pytest.raises(UserError, match=r"latent by latent.*doubly_reparameterised=False") as error:
        check_pair(pair.model, guide, pair.images, ImportanceWeighted(doubly_reparameterised=True))
    assert "\n" not in str(error.value)
