"""BetaELBO against Pyro's own ELBOs, its algebra, and the algebra of the leave-one-out baseline."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from ppvae import BetaELBO, UserError
from ppvae.pair.terms import Terms

REPARAMETERISED = ("normal", "normal-gamma implicit")


def seeded(objective, pair: SimpleNamespace) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Value and gradient per image, by parameter name, on one fixed draw."""
    torch.manual_seed(3)
    if isinstance(objective, BetaELBO):
        loss = objective(pair.model, pair.guide, pair.images)
    else:
        loss = objective.differentiable_loss(pair.model, pair.guide, pair.images) / len(pair.images)
    parameters = {
        f"{part}.{name}": parameter
        for part in ("model", "guide")
        for name, parameter in getattr(pair, part).named_parameters()
    }
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return loss.detach(), dict(zip(parameters, gradients, strict=True))


def differences(first: dict, second: dict) -> list[str]:
    """Names of the parameters whose gradients differ."""
    return [
        name
        for name in first
        if (first[name] is None) != (second[name] is None)
        or (first[name] is not None and not torch.allclose(first[name], second[name], rtol=1e-3, atol=1e-4))
    ]


def test_trace_is_pyros_trace_elbo(pair):
    """The same draw, the same number; and the same gradient where no score term needs a baseline."""
    ours, our_gradients = seeded(BetaELBO(estimator="trace"), pair)
    pyros, pyros_gradients = seeded(Trace_ELBO(), pair)
    torch.testing.assert_close(ours, pyros, rtol=1e-5, atol=1e-4)
    if pair.name in REPARAMETERISED:
        assert not differences(our_gradients, pyros_gradients)


def test_mean_field_is_pyros_trace_mean_field_elbo(pair):
    """G-REP passes there only with validation off, and then loses its score term: the value is the same, not more."""
    reparameterised = pair.name in REPARAMETERISED
    ours, our_gradients = seeded(BetaELBO(), pair)
    with pyro.validation_enabled(reparameterised):
        pyros, pyros_gradients = seeded(TraceMeanField_ELBO(), pair)
    torch.testing.assert_close(ours, pyros, rtol=1e-5, atol=1e-4)
    different = differences(our_gradients, pyros_gradients)
    assert not different if reparameterised else any(name.startswith("guide.logit") for name in different)


def test_both_estimators_have_one_mean(pair, within_errors):
    """Their rates differ draw by draw and agree within 5 standard errors; their distortions are the same numbers."""
    nn.init.constant_(pair.guide.loc.bias, 1.5)  # away from the prior, where the rate would be near zero
    images, terms = pair.images.repeat(250, 1, 1, 1), {}
    for estimator in ("mean_field", "trace"):
        torch.manual_seed(5)
        with torch.no_grad():
            terms[estimator] = BetaELBO(estimator=estimator).measure(pair.model, pair.guide, images)
    closed, sampled = terms["mean_field"], terms["trace"]
    torch.testing.assert_close(closed.distortion, sampled.distortion)
    per_latent = sum(sampled.rates[name][1] - closed.rates[name][1] for name in closed.rates)
    assert per_latent.shape == (len(images), 3)
    assert per_latent.std() > 1e-3
    scale = closed.rate.mean()
    within_errors(sampled.rate - closed.rate + scale, scale, resolution=0.2)


def test_the_weight_is_linear_and_acts_on_the_rate_alone(pair):
    terms = BetaELBO().measure(pair.model, pair.guide, pair.images)
    for beta in (0.0, 1.0, 4.0):
        loss = BetaELBO(beta=beta).loss(terms)
        torch.testing.assert_close(loss, terms.distortion.mean() + beta * terms.rate.mean())
        torch.testing.assert_close(seeded(BetaELBO(beta=beta), pair)[0], seeded_terms(pair, beta))
    torch.testing.assert_close(seeded(BetaELBO(), pair)[0], seeded(BetaELBO(beta=1.0), pair)[0])


def seeded_terms(pair: SimpleNamespace, beta: float) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.no_grad():
        terms = BetaELBO().measure(pair.model, pair.guide, pair.images)
    return terms.distortion.mean() + beta * terms.rate.mean()


def test_beta_zero_is_the_distortion_alone(pair):
    """Nothing of the prior is left: for the normal pair the gradient is that of −log p(x | z) by hand."""
    value, gradients = seeded(BetaELBO(beta=0), pair)
    torch.manual_seed(3)
    trace = poutine.trace(pair.guide).get_trace(pair.images)
    z = trace.nodes["z"]["value"]
    by_hand = -pair.model.likelihood(z).log_prob(pair.images).mean()
    torch.testing.assert_close(value, by_hand.detach())
    if pair.name == "normal":
        names = [name for name in gradients if name.startswith("guide.")]
        expected = torch.autograd.grad(by_hand, [p for _, p in pair.guide.named_parameters()])
        assert names
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(gradients[name], gradient)


def test_beta_norm_counts_pixels_and_latents(pair):
    """β = β_norm·N/M with N = 36 pixels and M = 3 latents, precisions not counted twice."""
    assert math.prod(pair.images.shape[1:]) == 36
    value, gradients = seeded(BetaELBO(beta_norm=0.5), pair)
    same, same_gradients = seeded(BetaELBO(beta=0.5 * 36 / 3), pair)
    torch.testing.assert_close(value, same)
    assert not differences(gradients, same_gradients)
    assert value > seeded(BetaELBO(beta=0.5), pair)[0] + 0.01


def test_terms_follow_the_documented_shapes(pair):
    terms = BetaELBO().measure(pair.model, pair.guide, pair.images)
    assert terms.distortion.shape == terms.rate.shape == (16,)
    sites = ["z"] if pair.name == "normal" else ["precision", "z"]
    found = {name: (dims, tuple(rate.shape)) for name, (dims, rate) in terms.rates.items()}
    assert found == dict.fromkeys(sites, (("latent",), (16, 3)))
    assert (terms.pixels, terms.latents) == (36, 3)
    assert (terms.score is not None) == pair.name.endswith("g-rep")
    assert terms.score is None or terms.score.shape == (16,)
    assert list(terms.recorded) == ([] if pair.name == "normal" else ["p"])
    torch.testing.assert_close(terms.rate, sum(terms.rates[name][1].sum(-1) for name in sites))
    assert list(terms.codes) == ["z"]
    torch.testing.assert_close(terms.codes["z"][1].sum(-1), terms.rate)


@pytest.fixture
def clustered() -> Terms:
    """Terms of four images with two codes and a discrete site."""
    rates = {"z_global": torch.rand(4, 2), "z_local": torch.rand(4, 3)}
    rates = {name: (("latent",), rate) for name, rate in rates.items()} | {"cluster": ((), torch.rand(4))}
    return Terms(torch.rand(4), rates, None, {}, pixels=12, latents=5, discrete=frozenset({"cluster"}))


@pytest.mark.parametrize("warmth", [1.0, 0.3])
@pytest.mark.parametrize("discrete", [None, 0.0, 1.0, 7.0])
@pytest.mark.parametrize("weight", [{}, {"beta": 0.0}, {"beta": 4.0}, {"beta_norm": 0.5}], ids=str)
def test_discrete_sites_have_a_weight_of_their_own(clustered, weight, discrete, warmth):
    """D + w (β (KL_global + KL_local) + discrete · KL_cluster), one where it is not given; warm-up weighs them all."""
    beta = 0.5 * 12 / 5 if "beta_norm" in weight else weight.get("beta", 1.0)
    normals = clustered.rates["z_global"][1].sum(1) + clustered.rates["z_local"][1].sum(1)
    cluster = clustered.rates["cluster"][1]
    expected = clustered.distortion + warmth * (beta * normals + (1.0 if discrete is None else discrete) * cluster)
    objective = BetaELBO(**weight) if discrete is None else BetaELBO(**weight, discrete=discrete)
    torch.testing.assert_close(objective.loss(clustered, warmth=warmth), expected.mean())


def test_without_discrete_sites_their_weight_says_nothing(pair):
    terms = BetaELBO().measure(pair.model, pair.guide, pair.images)
    assert not terms.discrete
    for beta in (0.0, 1.0, 4.0):
        losses = [BetaELBO(beta=beta, discrete=discrete).loss(terms) for discrete in (0.0, 1.0, 9.0)]
        torch.testing.assert_close(losses[1:], losses[:-1], rtol=0, atol=0)


def test_the_score_of_a_discrete_site_is_weighed_by_the_weighted_cost(clustered):
    """∂loss/∂score_i = (c_i − mean of the others' c) / 4 with c under both weights."""
    score = torch.rand(4, requires_grad=True)
    loss = BetaELBO(beta=3.0, discrete=0.5).loss(replace(clustered, score=score))
    (gradient,) = torch.autograd.grad(loss, score)
    cost = clustered.distortion + 3.0 * (clustered.rate - clustered.rates["cluster"][1])
    cost = cost + 0.5 * clustered.rates["cluster"][1]
    torch.testing.assert_close(gradient, (cost - (cost.sum() - cost) / 3) / 4)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_baseline_is_the_mean_of_the_others(images):
    """∂loss/∂score_i = (c_i − mean of the other costs) / B, and nothing of it shows in the value."""
    cost, rate = torch.rand(images) * 10, torch.rand(images, 2)
    score = torch.rand(images, requires_grad=True)
    terms = Terms(cost, {"z": (("latent",), rate)}, score, {}, pixels=4, latents=1)
    loss = BetaELBO(beta=3.0).loss(terms)
    weighted = cost + 3 * rate.sum(1)
    torch.testing.assert_close(loss, weighted.mean())
    (gradient,) = torch.autograd.grad(loss, score)
    others = [sum(weighted[j] for j in range(images) if j != i) / max(images - 1, 1) for i in range(images)]
    torch.testing.assert_close(gradient, (weighted - torch.tensor(others)) / images)


def test_the_score_term_does_not_differentiate_the_cost():
    cost = torch.rand(4, requires_grad=True)
    terms = Terms(cost, {"z": (("latent",), torch.zeros(4, 1))}, torch.rand(4), {}, pixels=4, latents=1)
    (gradient,) = torch.autograd.grad(BetaELBO().loss(terms), cost)
    torch.testing.assert_close(gradient, torch.full((4,), 0.25))


@pytest.mark.parametrize("objective", [BetaELBO(beta=2.0), BetaELBO(beta=2.0, estimator="trace")], ids=str)
def test_svi_takes_it_as_a_loss(pair, objective):
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), loss=objective)
    losses = [svi.step(pair.images) for _ in range(30)]
    assert all(isinstance(loss, float) for loss in losses)
    first, last = sum(losses[:5]), sum(losses[-5:])
    assert last < first - 5 * 0.5
    assert svi.evaluate_loss(pair.images) < losses[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"beta": -1}, "beta.*-1.*expected"),
        ({"beta": float("nan")}, "beta.*nan.*expected"),
        ({"beta": float("inf")}, "beta.*inf.*expected"),
        ({"beta": "4"}, "beta.*4.*expected"),
        ({"beta_norm": -0.1}, "beta_norm.*-0.1.*expected"),
        ({"beta_norm": float("nan")}, "beta_norm.*nan.*expected"),
        ({"beta": 1, "beta_norm": 1}, "both given; give one"),
        ({"beta": 0, "beta_norm": 0}, "both given; give one"),
        ({"discrete": -1}, "discrete=-1: expected"),
        ({"discrete": float("nan")}, "discrete=nan: expected"),
        ({"estimator": "meanfield"}, "estimator.*'meanfield'.*expected one of auto, mean_field, trace"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        BetaELBO(**options)
    assert "\n" not in str(error.value)
