"""Normal pixels: fixed, learned and optimal scales against closed forms."""

import math

import pytest
import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError
from ppvae.distributions import IsotropicNormal
from ppvae.distributions.batch_scale_normal import LEAST_SCALE
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi.capture import capture

SHAPE = (2, 5, 4)
PIXELS = math.prod(SHAPE)


def make_optimal(scale: float = 0.3) -> NormalLikelihood:
    return NormalLikelihood(MLPDecoder(3, SHAPE, (8,)), scale, scale_mode="optimal")


def loss_of(likelihood: nn.Module, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return -likelihood(z).log_prob(x).mean()


def rmse(likelihood: nn.Module, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x - likelihood.decoder(z).sigmoid()).square().mean().sqrt()


def test_log_prob_by_hand():
    decoder, z, x = MLPDecoder(3, SHAPE, (8,)), torch.randn(6, 3), torch.rand(6, *SHAPE)
    distribution = NormalLikelihood(decoder, 0.05)(z)
    squares = (x - torch.sigmoid(decoder(z))).square().sum((1, 2, 3))
    expected = -squares / (2 * 0.05**2) - PIXELS * (math.log(0.05) + 0.5 * math.log(2 * math.pi))
    assert (distribution.batch_shape, distribution.event_shape) == ((6,), SHAPE)
    torch.testing.assert_close(distribution.log_prob(x), expected)


@pytest.mark.parametrize("scale", [0.02, 0.3, 2.0])
def test_floor_is_a_perfect_reconstruction(scale, constant):
    x = torch.rand(1, *SHAPE) * 0.8 + 0.1
    likelihood = NormalLikelihood(constant(x[0].logit()), scale)
    perfect = -likelihood(torch.zeros(1, 3)).log_prob(x).item()
    assert perfect == pytest.approx(likelihood.distortion_floor, rel=1e-5)
    assert -likelihood(torch.zeros(1, 3)).log_prob(x + 0.05).item() > perfect


def test_learned_scale_starts_where_told_and_finds_the_noise(constant):
    """Its optimum is the root mean squared residual; a fixed scale is no parameter."""
    x = 0.5 + 0.1 * torch.randn(200, *SHAPE)
    likelihood = NormalLikelihood(constant(torch.zeros(SHAPE)), 0.3, scale_mode="learned")
    assert [name for name, _ in likelihood.named_parameters()] == ["log_scale"]
    assert likelihood(torch.zeros(1, 3)).scale.item() == pytest.approx(0.3)
    optimiser = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = loss_of(likelihood, torch.zeros(200, 3), x)
        loss.backward()
        assert likelihood.log_scale.grad.abs() < 1e6
        return loss

    optimiser.step(closure)
    assert likelihood.log_scale.exp().item() == pytest.approx((x - 0.5).square().mean().sqrt().item(), rel=1e-3)
    assert likelihood.distortion_floor == 0
    fixed = NormalLikelihood(constant(torch.zeros(SHAPE)), 0.3)
    assert not list(fixed.parameters())
    assert not fixed.state_dict()


def test_images_are_drawn_around_the_mean(constant, within_errors):
    logits = torch.linspace(-2, 2, PIXELS).reshape(SHAPE)
    distribution = NormalLikelihood(constant(logits), 0.3)(torch.zeros(1, 3))
    torch.testing.assert_close(distribution.mean[0], logits.sigmoid())
    within_errors(distribution.sample((10_000,))[:, 0], logits.sigmoid(), resolution=0.03)


@pytest.mark.parametrize("beta", [0.25, 4.0, 27.0])
def test_beta_and_scale_are_one_number(beta):
    """(β, σ) and (1, σ√β): losses equal but for a constant, so gradients are proportional (the NGVAE's 27 and 0.02)."""
    decoder, guide = MLPDecoder(3, SHAPE, (8,)), MeanFieldNormal(MLPEncoder(SHAPE, (8,)), 3)
    images, scale = torch.rand(6, *SHAPE), 0.1
    results = []
    for weight, s in ((beta, scale), (1.0, scale * beta**0.5)):
        likelihood = NormalLikelihood(decoder, s)
        torch.manual_seed(1)
        loss = BetaELBO(beta=weight)(VAE(NormalPrior(3), likelihood), guide, images)
        gradients = torch.autograd.grad(loss, [*decoder.parameters(), *guide.parameters()])
        loss = loss - likelihood.distortion_floor
        results.append([loss.detach() / weight, *(gradient / weight for gradient in gradients)])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5 * float(second.abs().max()))


def test_optimal_scale_is_the_root_mean_squared_error():
    likelihood, z, x = make_optimal(), torch.randn(2, 6, 3), torch.rand(6, *SHAPE)
    log_probs = likelihood(z).log_prob(x)  # two draws for each image
    expected = rmse(likelihood, z, x)
    torch.testing.assert_close(likelihood.log_scale.exp(), expected.detach())
    torch.testing.assert_close(log_probs, NormalLikelihood(likelihood.decoder, expected.item())(z).log_prob(x))
    at_optimum = PIXELS * (expected.log() + 0.5 * math.log(2 * math.pi) + 0.5)
    torch.testing.assert_close(-log_probs.mean(), at_optimum, rtol=1e-5, atol=0)


def test_optimal_loss_is_the_least_over_fixed_scales():
    likelihood, z, x = make_optimal(), torch.randn(6, 3), torch.rand(6, *SHAPE)
    best = loss_of(likelihood, z, x).item()
    scales = rmse(likelihood, z, x).item() * torch.linspace(0.8, 1.25, 46)
    losses = [loss_of(NormalLikelihood(likelihood.decoder, float(scale)), z, x).item() for scale in scales]
    assert best <= min(losses) + 1e-5
    assert min(losses) == pytest.approx(best, abs=PIXELS * 0.005**2)  # the grid's step is 1 %, the curvature 2 · PIXELS
    assert losses[0] > best + 1


def test_optimal_gradients_are_those_of_the_fixed_scale_and_of_the_scale_with_gradient():
    """The envelope theorem: whether σ* carries a gradient makes no difference to the total."""
    likelihood, z, x = make_optimal(), torch.randn(6, 3), torch.rand(6, *SHAPE)
    parameters = list(likelihood.decoder.parameters())
    optimal = torch.autograd.grad(loss_of(likelihood, z, x), parameters)
    fixed = NormalLikelihood(likelihood.decoder, rmse(likelihood, z, x).item())
    at_fixed = torch.autograd.grad(loss_of(fixed, z, x), parameters)
    through_scale = torch.autograd.grad(PIXELS * rmse(likelihood, z, x).log(), parameters)
    for gradient, first, second in zip(optimal, at_fixed, through_scale, strict=True):
        torch.testing.assert_close(gradient, first, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient, second, rtol=1e-4, atol=1e-5)


def test_evaluation_uses_one_scale_whatever_the_images():
    likelihood, z, x = make_optimal(), torch.randn(6, 3), torch.rand(6, *SHAPE)
    loss_of(likelihood, z, x)
    scale = likelihood.log_scale.exp().item()
    likelihood.eval()
    others = torch.rand(6, *SHAPE) ** 3
    expected = NormalLikelihood(likelihood.decoder, scale)(z).log_prob(others)
    torch.testing.assert_close(likelihood(z).log_prob(others), expected)
    torch.testing.assert_close(likelihood(z[:1]).log_prob(others[:1]), expected[:1])
    assert type(likelihood(z)) is IsotropicNormal
    assert likelihood.log_scale.exp().item() == scale


def test_the_evaluated_density_integrates_to_one(constant):
    """And the training one does not: each value alone would set its own scale, ∫ 1/(√(2πe)|x − m|) dx = ∞."""
    likelihood = NormalLikelihood(constant(torch.zeros(1, 1, 1)), 0.3, scale_mode="optimal")
    loss_of(likelihood, torch.zeros(50, 3), torch.rand(50, 1, 1, 1))
    x = torch.linspace(-3, 4, 4001).reshape(-1, 1, 1, 1)
    density = likelihood.eval()(torch.zeros(4001, 3)).log_prob(x).exp()
    assert torch.trapezoid(density, x.flatten()).item() == pytest.approx(1, abs=1e-5)  # rounding of 4 001 floats
    likelihood.train()
    alone = torch.stack([likelihood(torch.zeros(1, 3)).log_prob(value[None]).exp() for value in x[::100]])
    assert torch.trapezoid(alone.flatten(), x[::100].flatten()).item() > 1.3


def test_the_optimal_scale_is_saved_and_starts_where_told():
    likelihood = make_optimal(0.3)
    assert likelihood(torch.zeros(1, 3)).scale.item() == pytest.approx(0.3)
    assert not any(parameter is likelihood.log_scale for parameter in likelihood.parameters())
    loss_of(likelihood, torch.randn(6, 3), torch.rand(6, *SHAPE))
    other = make_optimal()
    other.load_state_dict(likelihood.state_dict())
    assert torch.equal(other.log_scale, likelihood.log_scale)
    assert likelihood.distortion_floor == 0


def test_an_exact_copy_is_not_infinitely_likely(constant):
    x = torch.rand(4, *SHAPE) * 0.8 + 0.1
    likelihood = NormalLikelihood(constant(x[0].logit()), scale_mode="optimal")
    loss = loss_of(likelihood, torch.zeros(1, 3), x[:1])
    assert likelihood.log_scale.exp().item() == pytest.approx(LEAST_SCALE)
    assert loss.item() == pytest.approx(PIXELS * (math.log(LEAST_SCALE) + 0.5 * math.log(2 * math.pi)), rel=1e-4)


def test_the_least_scale_is_the_rounding_error_of_bytes():
    """The standard deviation of a number uniform over one of 255 steps: 1/(255 √12)."""
    likelihood = make_optimal()
    z = torch.randn(4, 3)
    likelihood(z).log_prob(likelihood.decoder(z).sigmoid().detach())
    assert likelihood.log_scale.exp().item() == pytest.approx(1 / (255 * math.sqrt(12)), rel=1e-5)


def test_capture_updates_the_scale_as_eager_does():
    likelihood, z, x = make_optimal(), torch.randn(6, 3), torch.rand(6, *SHAPE)
    before = likelihood.log_scale.clone()
    graph = capture(lambda z, x: loss_of(likelihood, z, x), z, x, preserve=likelihood)
    assert torch.equal(likelihood.log_scale, before), "capture alone must not train"
    parameters = list(likelihood.parameters())
    for power in (1, 2, 3):
        images = x**power
        loss = graph(z, images)
        assert not likelihood.log_scale.requires_grad, "the scale carries this step's graph into the next"
        torch.testing.assert_close(likelihood.log_scale.exp(), rmse(likelihood, z, images).detach())
        torch.testing.assert_close(loss, loss_of(likelihood, z, images))
        for first, second in zip(
            torch.autograd.grad(loss, parameters),
            torch.autograd.grad(loss_of(likelihood, z, images), parameters),
            strict=True,
        ):
            torch.testing.assert_close(first, second)


def test_expanding_keeps_writing_to_the_same_scale():
    likelihood, x = make_optimal(), torch.rand(6, *SHAPE)
    likelihood(torch.zeros(3)).expand((6,)).log_prob(x)
    torch.testing.assert_close(likelihood.log_scale.exp(), rmse(likelihood, torch.zeros(3), x).detach())


@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf")])
def test_scale_must_be_positive(scale, constant):
    with pytest.raises(UserError, match=rf"scale.*{scale}.*expected") as error:
        NormalLikelihood(constant(torch.zeros(SHAPE)), scale)
    assert "\n" not in str(error.value)


def test_a_misspelt_mode_lists_the_modes(constant):
    with pytest.raises(UserError, match="scale_mode='optimum': expected one of fixed, learned, optimal") as error:
        NormalLikelihood(constant(torch.zeros(SHAPE)), scale_mode="optimum")
    assert "\n" not in str(error.value)
