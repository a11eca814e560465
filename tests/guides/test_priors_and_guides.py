"""Every prior with every guide of a single site: gradients, capture, draws, closed-form KLs, plain SVI."""

import copy
from collections.abc import Callable
from types import SimpleNamespace

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.distributions import kl_divergence

from guides import (
    FullCovarianceNormal,
    InverseAutoregressiveGuide,
    MeanFieldNormal,
    MixtureOfEncoders,
    NormalGammaGuide,
    StudentTGuide,
)
from ppvae import VAE, UserError, check_pair
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.sites import elementwise
from ppvae.pair.terms import pair_traces, trace
from ppvae.priors import AutoregressiveFlowPrior, HorseshoePrior, MixturePrior, NormalPrior, StudentTPrior, VampPrior
from ppvae.svi.capture import capture

SHAPE, LATENTS, IMAGES, DRAWS = (1, 4, 4), 3, 5, 4
PRIORS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "normal": lambda _: NormalPrior(LATENTS),
    "mixture": lambda _: MixturePrior(LATENTS, 4),
    "vamp": lambda guide: VampPrior(LATENTS, SHAPE, 4, guide=guide),
    "autoregressive_flow": lambda _: AutoregressiveFlowPrior(LATENTS, 2, [6]),
    "student_t": lambda _: StudentTPrior(LATENTS),
    "horseshoe": lambda _: HorseshoePrior(LATENTS),
}
GUIDES: dict[str, Callable[[nn.Module, int], nn.Module]] = {
    "mean_field": MeanFieldNormal,
    "full_covariance": FullCovarianceNormal,
    "student_t": StudentTGuide,
    "iaf": lambda encoder, latents: InverseAutoregressiveGuide(encoder, latents, flows=2, hidden=[6]),
    "mixture_of_encoders": MixtureOfEncoders,
}
PAIRS = [(prior, guide) for prior in PRIORS for guide in GUIDES if (prior, guide) != ("vamp", "iaf")]
CLOSED = {("normal", "mean_field"), ("normal", "full_covariance")}
QUICK = CLOSED | {  # each prior and each guide
    ("mixture", "iaf"),
    ("vamp", "mean_field"),
    ("vamp", "mixture_of_encoders"),
    ("autoregressive_flow", "student_t"),
    ("student_t", "full_covariance"),
    ("horseshoe", "student_t"),
}


def make_pair(prior: str, guide: str) -> SimpleNamespace:
    """The pair by name, its images, and one module that holds every parameter."""
    torch.manual_seed(0)
    q = GUIDES[guide](MLPEncoder(SHAPE, [8]), LATENTS)
    model = VAE(PRIORS[prior](q), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, [8]), 0.3))
    return SimpleNamespace(model=model, guide=q, images=torch.rand(IMAGES, *SHAPE), both=nn.ModuleList([model, q]))


@pytest.fixture(
    params=[pytest.param(pair, marks=() if pair in QUICK else pytest.mark.long, id="-".join(pair)) for pair in PAIRS]
)
def names(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def pair(names: tuple[str, str]) -> SimpleNamespace:
    return make_pair(*names)


def loss_and_gradients(function: Callable, module: nn.Module, images: torch.Tensor, seed: int):
    torch.manual_seed(seed)
    loss = function(images)
    names, parameters = zip(*module.named_parameters(), strict=True)
    return loss.detach(), dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))


def test_captured_is_eager_and_every_parameter_has_a_gradient(pair):
    """With several draws at once, which exercises the outer plate too; in float64, as merging reorders sums."""
    images = pair.images.double()
    pair.both.double()

    def loss(images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("draws", 2, dim=-2):
            terms = trace(pair.model, pair.guide, images)
        return (terms.distortion + terms.rate).mean()

    graph = capture(loss, images, preserve=pair.both)
    values = []
    for seed in (1, 2):
        value, gradients = loss_and_gradients(loss, pair.both, images, seed)
        captured, recorded = loss_and_gradients(graph, pair.both, images, seed)
        torch.testing.assert_close(captured, value, rtol=1e-12, atol=1e-12)
        missing = [name for name, gradient in gradients.items() if gradient is None or not gradient.any()]
        assert not missing
        for name, gradient in gradients.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(recorded[name] / scale, gradient / scale, rtol=0, atol=1e-9, msg=name)
        values.append(float(captured))
    assert values[0] != values[1]  # draws stay random in the graph


def test_draws_are_scored_one_by_one(pair):
    """Under an outer plate: shapes, and each draw's log q and log p are those of the draw alone."""
    with torch.no_grad():
        with pyro.plate("draws", DRAWS, dim=-2):
            guide_trace, model_trace = pair_traces(pair.model, pair.guide, pair.images)
        drawn, wanted = guide_trace.nodes["z"], model_trace.nodes["z"]
        assert drawn["value"].shape == (DRAWS, IMAGES, LATENTS)
        assert drawn["infer"]["event_dims"] == wanted["infer"]["event_dims"] == ["latent"]
        log_q, log_p = (site["fn"].log_prob(drawn["value"]) for site in (drawn, wanted))
        assert log_q.shape == log_p.shape == (DRAWS, IMAGES)
        posterior = pair.guide.posterior(pair.images)
        assert (posterior.batch_shape, posterior.event_shape) == ((IMAGES,), (LATENTS,))
        for draw, q, p in zip(drawn["value"], log_q, log_p, strict=True):
            torch.testing.assert_close(q, posterior.log_prob(draw), rtol=1e-4, atol=1e-4)
            replayed = pyro.poutine.condition(pair.model, {"z": draw})
            site = pyro.poutine.trace(replayed).get_trace(pair.images).nodes["z"]
            torch.testing.assert_close(p, site["fn"].log_prob(draw), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(drawn["value"][0], drawn["value"][1])


def test_the_prior_draws_images(pair):
    with pyro.plate("draws", DRAWS, dim=-2), torch.no_grad():
        site = pyro.poutine.trace(pair.model).get_trace(size=2).nodes["z"]
    assert site["value"].shape == (DRAWS, 2, LATENTS)
    assert torch.unique(site["value"].flatten(0, 1), dim=0).shape == (2 * DRAWS, LATENTS)


def test_a_closed_form_kl_is_right_or_absent(names, pair, within_errors):
    """The KL of whole sites and, where both factorise, of each latent: never a wrong one through a base class."""
    with torch.no_grad():
        guide_trace, model_trace = pair_traces(pair.model, pair.guide, pair.images[:1].expand(20_000, *SHAPE))
        z, q, p = guide_trace.nodes["z"]["value"], guide_trace.nodes["z"]["fn"], model_trace.nodes["z"]["fn"]
        for first, second in ((q, p), elementwise(q, p)):
            if names in CLOSED:
                sampled = first.log_prob(z) - second.log_prob(z)
                within_errors(sampled, kl_divergence(first, second)[0], resolution=0.4)
            else:
                with pytest.raises(NotImplementedError):
                    kl_divergence(first, second)


def test_check_pair_accepts_it_and_plain_svi_trains_it(pair):
    check_pair(pair.model, pair.guide, pair.images)
    before = {name: value.detach().clone() for name, value in pair.both.named_parameters()}
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    svi.step(pair.images)
    assert len(pyro.get_param_store()) == 0
    assert not [name for name, value in pair.both.named_parameters() if torch.equal(value, before[name])]


def test_copies_after_training(pair):
    """No transform keeps a value of its last draw, which could not be copied."""
    terms = trace(pair.model, pair.guide, pair.images)
    (terms.distortion + terms.rate).mean().backward()
    twin = copy.deepcopy(pair.both)
    values = []
    for model, guide in (pair.both, twin):
        torch.manual_seed(1)
        values.append(trace(model, guide, pair.images).rate)
    torch.testing.assert_close(*values)
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in pair.both.parameters()}


@pytest.mark.parametrize("prior", PRIORS)
def test_a_joint_guide_needs_the_joint_prior(prior):
    guide = NormalGammaGuide(MLPEncoder(SHAPE, [8]), LATENTS)
    if prior == "vamp":
        with pytest.raises(UserError, match="NormalGammaGuide has no posterior"):
            PRIORS[prior](guide)
        return
    model = VAE(PRIORS[prior](guide), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, [8]), 0.3))
    with pytest.raises(UserError, match="'precision' is in the guide but not in the model"):
        check_pair(model, guide, torch.rand(2, *SHAPE))
