"""The inverse autoregressive guide: its density, its parallel scoring, and its equivalence to the flow prior."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import InverseAutoregressiveGuide, MeanFieldNormal
from ppvae import VAE, UserError
from ppvae.distributions import AutoregressiveFlow
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder
from ppvae.pair.terms import trace
from ppvae.priors import AutoregressiveFlowPrior, NormalPrior

SHAPE, LATENTS, IMAGES = (1, 2, 2), 3, 6


class Features(nn.Module):
    """An encoder that returns its images, flattened."""

    features = 4

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


class Composed(nn.Module):
    """decoder ∘ f⁻¹, the inverse computed anew, latent by latent."""

    latents = LATENTS

    def __init__(self, decoder: nn.Module, flow: AutoregressiveFlow) -> None:
        super().__init__()
        self.decoder = decoder
        self.flow = flow

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        for transform in reversed(self.flow.transforms()):
            z = transform.inv(z)
        return self.decoder(z)


def randomised(module: nn.Module, std: float = 0.5) -> nn.Module:
    """Far from the start, in double precision."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module.double()


def make_guide(**options: object) -> InverseAutoregressiveGuide:
    return randomised(InverseAutoregressiveGuide(Features(), LATENTS, **{"hidden": [5], "context": 4, **options}))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(IMAGES, *SHAPE, dtype=torch.float64)


@pytest.mark.parametrize("flows", [1, 3])
def test_density_is_the_bases_less_the_log_gates(flows, images):
    """Eq. of the paper's Algorithm 1 by hand, with the gates read from the networks in turn."""
    guide = make_guide(flows=flows)
    posterior, features = guide.posterior(images), images.flatten(1)
    torch.manual_seed(3)
    drawn = posterior.rsample()
    torch.manual_seed(3)
    scale = (0.5 * guide.log_variance(features)).exp()
    noise = dist.Normal(torch.zeros_like(scale), 1.0).rsample()
    z, log_q = guide.loc(features) + scale * noise, dist.Normal(0.0, 1.0).log_prob(noise) - scale.log()
    for step in guide.flow.steps:
        mean, logit = step(z, guide.context(features))
        gate = (logit + 2.0).sigmoid()
        z, log_q = gate * z + (1 - gate) * mean, log_q - gate.log()
    torch.testing.assert_close(drawn, z)
    torch.testing.assert_close(posterior.log_prob(drawn), log_q.sum(-1))


def test_density_at_any_z_is_that_of_the_inverse(images):
    """A draw of one posterior scored by another built afresh, which has to invert it."""
    guide = make_guide()
    posterior = guide.posterior(images)
    drawn = posterior.rsample()
    torch.testing.assert_close(guide.posterior(images).log_prob(drawn.clone()), posterior.log_prob(drawn))


def test_posteriors_of_images_differ_beyond_their_base(images):
    """The context moves the flow itself: equal base normals, other posteriors."""
    guide = make_guide()
    for head in (guide.loc, guide.log_variance):
        nn.init.zeros_(head.weight)
    torch.manual_seed(0)
    z = guide.posterior(images[:1].expand(50, *SHAPE)).rsample()
    torch.manual_seed(0)
    other = guide.posterior(images[1:2].expand(50, *SHAPE)).rsample()
    assert (z - other).abs().max() > 0.01


def test_the_context_is_a_head_of_its_own_the_features_themselves_or_nothing(images):
    features = images.flatten(1)
    guide = make_guide(context=2)
    assert [step.context.in_features for step in guide.flow.steps] == [2, 2]
    torch.testing.assert_close(guide.context(features), nn.functional.linear(features, *guide.context.parameters()))
    shared = InverseAutoregressiveGuide(Features(), LATENTS, flow=AutoregressiveFlow(LATENTS, 2, [5], context=4))
    assert shared.double().context(features) is features
    blind = make_guide(context=0)
    assert {name.partition(".")[0] for name, _ in blind.named_parameters()} == {"loc", "log_variance", "flow"}
    assert all(step.context is None for step in blind.flow.steps)


@pytest.mark.parametrize("flows", [1, 4])
def test_a_step_of_training_runs_each_network_once(flows, images):
    """Drawing and scoring the own draw are parallel: the cached values are used; any other z costs a pass a latent."""
    guide, calls = make_guide(flows=flows), []
    model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, [4]))).double()
    for step in guide.flow.steps:
        step.register_forward_hook(lambda *_: calls.append(1))
    trace(model, guide, images)
    assert len(calls) == flows
    calls.clear()
    guide.posterior(images).log_prob(torch.zeros(IMAGES, LATENTS, dtype=torch.float64))
    assert len(calls) == flows * LATENTS


@pytest.mark.parametrize("bias", [1.0, 2.0])
def test_it_starts_as_a_narrowed_diagonal_normal(bias, images):
    guide = InverseAutoregressiveGuide(Features(), LATENTS, flows=2, hidden=[5], gate_bias=bias).double()
    features, z = images.flatten(1), torch.randn(IMAGES, LATENTS, dtype=torch.float64)
    narrowing = torch.tensor(bias).double().sigmoid() ** 2
    scale = narrowing * (0.5 * guide.log_variance(features)).exp()
    expected = dist.Normal(narrowing * guide.loc(features), scale).to_event(1).log_prob(z)
    assert (guide.posterior(images).log_prob(z) - expected).abs().max() < 0.1


@pytest.mark.parametrize("gate_bias", [None, 2.0])
def test_flow_prior_is_inverse_autoregressive_posterior(gate_bias, images):
    """Chen et al. 2017: p_AF(z) = N(f(z))|∂f/∂z| with q(z | x) and p(x | z) has the bound of N(0, I) with
    q(f⁻¹(z₀) | x)|∂f⁻¹/∂z₀| and p(x | f⁻¹(z₀)), image by image at one noise, and so have their gradients."""
    flow = randomised(AutoregressiveFlow(LATENTS, 2, [5], gate_bias=gate_bias))
    decoder = MLPDecoder(LATENTS, SHAPE, [4])
    prior_pair = (
        VAE(AutoregressiveFlowPrior(LATENTS, flow=flow), NormalLikelihood(decoder, 0.3)).double(),
        randomised(MeanFieldNormal(Features(), LATENTS)),
    )
    posterior_pair = (
        VAE(NormalPrior(LATENTS), NormalLikelihood(Composed(decoder, flow), 0.3)).double(),
        InverseAutoregressiveGuide(Features(), LATENTS, flow=flow).double(),
    )
    posterior_pair[1].loc, posterior_pair[1].log_variance = prior_pair[1].loc, prior_pair[1].log_variance
    shared = [*flow.parameters(), *decoder.parameters(), *prior_pair[1].parameters()]
    bounds, gradients = [], []
    for model, guide in (prior_pair, posterior_pair):
        torch.manual_seed(5)
        terms = trace(model, guide, images)
        bounds.append(-(terms.distortion + terms.rate))
        gradients.append(torch.autograd.grad(bounds[-1].sum(), shared))
    torch.testing.assert_close(*bounds, rtol=0, atol=1e-10)
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-8, atol=1e-8)
    torch.manual_seed(5)
    plain = VAE(NormalPrior(LATENTS), NormalLikelihood(decoder, 0.3)).double()
    terms = trace(plain, prior_pair[1], images)
    assert (bounds[0] + terms.distortion + terms.rate).abs().mean() > 0.1  # f is not the identity


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"latents": 1}, "latents=1.*at least 2"),
        ({"flows": 0}, "flows=0.*expected"),
        ({"hidden": [2]}, r"hidden=\[2\].*at least as many units as latents, 3"),
        ({"context": -1}, "context=-1.*expected"),
        ({"gate_bias": -1.0}, "gate_bias=-1.0.*above zero"),
        ({"flow": AutoregressiveFlow(4, 1, [4])}, "flow is of 4 latents, the guide of 3"),
        ({"flow": AutoregressiveFlow(3, 1, [4], context=2)}, "context of 2, the encoder gives 4"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        InverseAutoregressiveGuide(Features(), **{"latents": LATENTS, **options})
    assert "\n" not in str(error.value)
