"""Gates that are open or shut: their KL, what the decoder reads, and the odds of each in a linear model."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn
from torch.distributions import kl_divergence

from guides import MeanFieldNormal, SpikeAndSlabGuide
from guides.spike_and_slab import SPEED
from ppvae import VAE, BetaELBO, ImportanceWeighted, TotalCorrelation, UserError, check_pair, fit, from_pyro_svi
from ppvae.distributions import Gate, RelaxedGate
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.terms import closed_form_rate, pair_traces
from ppvae.priors import NormalPrior, SpikeAndSlabPrior
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

SHAPE, LATENTS = (1, 4, 4), 3


def make_pair(**options) -> tuple[VAE, SpikeAndSlabGuide]:
    model = VAE(SpikeAndSlabPrior(LATENTS, 0.2), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, [8]), 0.3))
    return model, SpikeAndSlabGuide(MLPEncoder(SHAPE, [8]), LATENTS, **options)


# The distributions


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_a_relaxed_gate_is_more_open_than_shut_as_often_as_the_gate_is_open(within_errors, temperature):
    logits = torch.tensor([-2.0, 0.0, 1.5])
    draws = RelaxedGate(temperature, logits).rsample((20_000,))
    within_errors((draws > 0.5).float(), logits.sigmoid(), resolution=0.05)
    assert ((draws > 0) & (draws < 1)).all() == (temperature >= 1)  # rounding closes and opens the others


def test_densities_and_kls_are_the_gates():
    """Of a relaxed draw log p interpolates between those of zero and one."""
    q, p = torch.tensor([-1.0, 0.5, 30.0]), torch.tensor([0.0, -2.0, -3.0])
    for kind in (Gate, lambda logits: RelaxedGate(0.4, logits)):
        bernoulli = dist.Bernoulli(logits=q)
        torch.testing.assert_close(kl_divergence(kind(q), Gate(p)), kl_divergence(bernoulli, dist.Bernoulli(logits=p)))
        ends = bernoulli.log_prob(torch.zeros(3)), bernoulli.log_prob(torch.ones(3))
        torch.testing.assert_close(kind(q).log_prob(torch.full((3,), 0.25)), 0.75 * ends[0] + 0.25 * ends[1])
        torch.testing.assert_close(kind(q).mean, q.sigmoid())
    assert set(Gate(p).sample((100,)).unique().tolist()) == {0.0, 1.0}


# The pair


def test_kls_of_open_and_shut_gates():
    """A shut latent pays KL(γ ‖ π) alone, an open one KL(N(μ, σ²) ‖ N(0, 1)) beside; both are of the code z."""
    model, guide = make_pair()
    model.eval(), guide.eval()
    images = torch.rand(50, *SHAPE)
    with torch.no_grad():
        drawn, scored = pair_traces(model, guide, images)
        terms = BetaELBO().measure(model, guide, images)
        features = guide.encoder(images)
    gate = drawn.nodes["gate"]["value"]
    assert set(gate.unique().tolist()) == {0.0, 1.0}
    slab = dist.Normal(guide.loc(features), (0.5 * guide.log_variance(features)).exp())
    torch.testing.assert_close(
        closed_form_rate(drawn.nodes["z"], scored.nodes["z"]), gate * kl_divergence(slab, dist.Normal(0.0, 1.0))
    )
    assert list(terms.codes) == ["z"]
    assert terms.codes["z"][1].shape == (50, LATENTS)
    assert terms.latents == LATENTS


def test_the_decoder_reads_what_is_open():
    model, _ = make_pair()
    seen = []
    model.likelihood.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    values = {"gate": torch.tensor([[1.0, 0.0, 1.0]]), "z": torch.tensor([[0.5, 3.0, -2.0]])}
    pyro.poutine.condition(model, values)(size=1)
    assert seen[0].tolist() == [[0.5, 0.0, -2.0]]


def test_a_step_is_captured_and_one_gate_a_latent_is_the_default():
    for options in ({}, {"per_image": True}):
        step = Step(*make_pair(**options), BetaELBO()).double()
        images, numbers = torch.rand(6, *SHAPE, dtype=torch.float64), torch.tensor(())
        graph, results = capture(step.eager, images, numbers, preserve=step), []
        for run in (step.eager, graph):
            torch.manual_seed(5)
            loss, values = run(images.flip(0), numbers)
            results.append((loss.detach(), values, torch.autograd.grad(loss, list(step.parameters()))))
            assert all(gradient.any() for gradient in results[-1][2])
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-8)
    model, guide = make_pair()
    tree = from_pyro_svi(model, guide, torch.rand(9, *SHAPE), 4)
    probability = tree["sample_stats"]["gate_probability"]
    np.testing.assert_allclose(probability, 0.5, rtol=1e-6)
    assert tree["sample_stats"]["gate_mean"].attrs["parameter_of"] == "z"


@pytest.mark.parametrize("temperature", [0.4, None])
def test_it_trains_in_our_loop_and_in_pyros(temperature):
    model, guide = make_pair(temperature=temperature)
    images, both = torch.rand(16, *SHAPE), nn.ModuleList([model, guide])
    check_pair(model, guide, images, ImportanceWeighted(samples=3))
    before = {name: value.detach().clone() for name, value in both.named_parameters()}
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    svi.step(images)
    assert not [name for name, value in both.named_parameters() if torch.equal(value, before[name])]
    history = fit(model, guide, images, epochs=2, batch_size=8, compile=False, progress=False, accelerator="cpu")
    assert history["gate_probability"].dims == ("epoch", "latent")


def test_score_functions_have_the_enumerated_gradient(within_errors):
    """Of the probability of one gate, with z and the decoder's noise held: the cost open less the cost shut."""
    model = VAE(SpikeAndSlabPrior(1, 0.2), NormalLikelihood(MLPDecoder(1, SHAPE, [8]), 1.0)).double()
    guide = SpikeAndSlabGuide(MLPEncoder(SHAPE, [8]), 1, temperature=None, initial_probability=0.3).double()
    images = torch.rand(1, *SHAPE, dtype=torch.float64).expand(4000, *SHAPE)
    nn.init.constant_(guide.log_variance.bias, -40.0)  # z at its mean, or at zero under a shut gate
    nn.init.zeros_(guide.log_variance.weight)
    costs = []
    for gate in (0.0, 1.0):
        z = gate * guide.loc(guide.encoder(images[:1]))
        distortion = -model.likelihood(z).log_prob(images[:1])
        slab = dist.Normal(z, (gate * -20.0 * torch.ones(())).exp())
        costs.append(distortion + kl_divergence(slab, dist.Normal(0.0, 1.0)).sum())
    probability = torch.tensor(0.3, dtype=torch.float64)
    kl_slope = (probability.logit() - torch.tensor(0.2, dtype=torch.float64).logit()) * probability * (1 - probability)
    expected = (costs[1] - costs[0]) * probability * (1 - probability) + kl_slope
    found = []
    for _ in range(40):
        loss = BetaELBO()(model, guide, images)
        found.append(torch.autograd.grad(loss, guide.tenths)[0] / SPEED)
    within_errors(torch.cat(found).float(), float(expected.detach()), resolution=0.2)


# The linear model

NOISE, PIXELS = 0.1, 8


class LinearLikelihood(nn.Module):
    """p(x | z) = N(Wz, σ²), of images (1, 1, 8)."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.loadings = nn.Linear(latents, PIXELS, bias=False)

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.loadings(z)[..., None, None, :], NOISE**0.5).to_event(3)


class Pixels(nn.Module):
    """An encoder that hands on the pixels, so that the guide is linear."""

    features = PIXELS

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def trained(
    factors: tuple[float, ...], latents: int, probability: float, **options
) -> tuple[torch.Tensor, torch.Tensor]:
    """Open probabilities, mean over the images, and the loadings, of images of these factors and noise."""
    white = torch.randn(800, PIXELS)
    white = torch.linalg.qr(white - white.mean(0)).Q * 800**0.5
    axes = torch.linalg.qr(torch.randn(PIXELS, PIXELS)).Q
    variances = torch.tensor([*factors, *[NOISE] * (PIXELS - len(factors))])
    images = ((white * variances.sqrt()) @ axes)[:, None, None, :]
    model = VAE(SpikeAndSlabPrior(latents, probability), LinearLikelihood(latents))
    guide = SpikeAndSlabGuide(Pixels(), latents, **options)
    gates = [parameter for name, parameter in guide.named_parameters() if name == "tenths"]
    others = [parameter for name, parameter in guide.named_parameters() if name != "tenths"]
    groups = [{"params": [*model.parameters(), *others]}, {"params": gates, "lr": 0.01}]
    optimiser = torch.optim.Adam(groups, lr=0.1)
    objective = BetaELBO()
    for step in range(500):
        optimiser.param_groups[0]["lr"] = 0.1 if step < 400 else 0.01
        optimiser.zero_grad()
        objective(model, guide, images).backward()
        optimiser.step()
    terms = objective.measure(model, guide, images)
    return terms.recorded["gate_probability"][1].mean(0).detach(), model.likelihood.loadings.weight.detach()


@pytest.mark.parametrize("variance", [0.7, pytest.param(1.2, marks=pytest.mark.long)])
def test_the_odds_of_a_gate_are_the_priors_times_what_its_axis_is_worth(variance):
    """π/(1 − π)·exp(½(ρ − 1 − log ρ)), ρ = λ/σ², and the loading is PCA's: 0.29 and 0.79."""
    probability, ratio = 0.05, variance / NOISE
    found, loadings = trained((variance,), 1, probability, temperature=None)
    odds = probability / (1 - probability) * math.exp(0.5 * (ratio - 1 - math.log(ratio)))
    assert float(found[0]) == pytest.approx(odds / (1 + odds), abs=0.04)
    assert float(loadings.norm()) == pytest.approx((variance - NOISE) ** 0.5, rel=0.05)


@pytest.mark.parametrize("temperature", [0.4, pytest.param(None, marks=pytest.mark.long)])
def test_of_more_latents_than_factors_just_those_stay_open(temperature):
    """With PCA's loadings, λ − σ²."""
    found, loadings = trained((6.0, 4.0, 3.0), 6, 0.05, temperature=temperature)
    assert int((found > 0.95).sum()) == 3
    assert int((found < 0.15).sum()) == 3
    kept = torch.linalg.svdvals(loadings[:, found > 0.95]).square()
    tolerance = 0.1 if temperature is None else 0.3  # gates between open and shut are another model's
    torch.testing.assert_close(kept, torch.tensor([5.9, 3.9, 2.9]), rtol=tolerance, atol=0)


@pytest.mark.long
def test_gates_of_each_image_find_a_sparse_code_and_select_nothing():
    """Each of six latents takes a part of the images, of the same three factors."""
    found, loadings = trained((6.0, 4.0, 3.0), 6, 0.05, per_image=True)
    assert ((found > 0.1) & (found < 0.9)).all()
    assert (loadings.norm(dim=0) > 0.5).all()


# What does not fit


def test_parts_that_do_not_fit_are_named():
    model, guide = make_pair()
    images = torch.rand(4, *SHAPE)
    with pytest.raises(UserError, match=r"'gate' is in the model but not in the guide.*guide=spike_and_slab"):
        check_pair(model, MeanFieldNormal(MLPEncoder(SHAPE, [8]), LATENTS), images)
    with pytest.raises(UserError, match=r"'gate' is in the guide but not in the model.*prior=spike_and_slab"):
        check_pair(VAE(NormalPrior(LATENTS), model.likelihood), guide, images)
    with pytest.raises(UserError, match="one latent site"):
        check_pair(model, guide, images, TotalCorrelation())


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_numbers_out_of_range_are_named(value):
    with pytest.raises(UserError, match=r"probability=.*between 0 and 1"):
        SpikeAndSlabPrior(LATENTS, value)
    with pytest.raises(UserError, match=r"initial_probability=.*between 0 and 1"):
        make_pair(initial_probability=value)
    with pytest.raises(UserError, match="temperature"):
        make_pair(temperature=-abs(value))
