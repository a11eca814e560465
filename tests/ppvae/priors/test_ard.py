"""Precisions that all images share: their posterior is the conjugate one, counts once, and the optimum is PCA's."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from guides import ARDGuide, MeanFieldNormal
from ppvae import (
    VAE,
    BetaELBO,
    ConditionalVAE,
    ImportanceWeighted,
    TotalCorrelation,
    UserError,
    check_pair,
    fit,
    from_pyro_svi,
    log_marginal,
)
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import ConditionalEncoder, LabelCondition, MLPDecoder, MLPEncoder
from ppvae.pair import spread
from ppvae.pair.terms import closed_form_rate, pair_traces, sampled_rate
from ppvae.priors import ARDPrior, ConjugateARDPrior, NormalPrior
from ppvae.processes import sharing
from ppvae.svi.capture import capture
from ppvae.svi.step import Step

SHAPE, LATENTS, IMAGES = (1, 4, 4), 3, 40
EAGER = {"batch_size": 10, "compile": False, "progress": False, "accelerator": "cpu"}


def learned(shape: float = 2.0, rate: float = 0.5) -> SimpleNamespace:
    prior = ARDPrior(LATENTS, shape, rate)
    model = VAE(prior, NormalLikelihood(MLPDecoder(LATENTS, SHAPE, [8]), 0.3))
    guide = ARDGuide(MLPEncoder(SHAPE, [8]), LATENTS, prior)
    return SimpleNamespace(model=model, guide=guide, prior=prior, images=torch.rand(IMAGES, *SHAPE))


def conjugate(**options: float) -> SimpleNamespace:
    prior = ConjugateARDPrior(LATENTS, **options)
    model = VAE(prior, NormalLikelihood(MLPDecoder(LATENTS, SHAPE, [8]), 0.3))
    guide = MeanFieldNormal(MLPEncoder(SHAPE, [8]), LATENTS)
    return SimpleNamespace(model=model, guide=guide, prior=prior, images=torch.rand(IMAGES, *SHAPE))


def best_posterior(pair: SimpleNamespace) -> tuple[float, torch.Tensor]:
    """Shape and rates of the exact q(α) given the guide's codes: a + N/2 and b + ½ Σₙ E[z²]."""
    q = pair.guide.posterior(pair.images).base_dist
    squares = (q.loc.square() + q.scale.square()).sum(0)
    return float(pair.prior.shape[0]) + IMAGES / 2, (pair.prior.rate + 0.5 * squares).detach()


def set_posterior(prior: ARDPrior, shape: float, rate: torch.Tensor) -> None:
    with torch.no_grad():
        prior.log_shape.fill_(math.log(shape))
        prior.log_mean.copy_(shape / rate).log_()


def cost_of_codes(pair: SimpleNamespace) -> torch.Tensor:
    """log q(α) − log p(α) + Σₙ KL(q(zₙ | xₙ) ‖ p(zₙ | α)) of each draw of α, (draw, latent)."""
    with pyro.plate("draws", 200, dim=-2), torch.no_grad():
        drawn, scored = pair_traces(pair.model, pair.guide, pair.images)
    of = {name: (drawn.nodes[name], scored.nodes[name]) for name in ("precision", "z")}
    return sampled_rate(*of["precision"])[:, 0] + closed_form_rate(*of["z"]).sum(1)


def test_the_conjugate_posterior_leaves_nothing_to_gain():
    """There the cost of every draw of α is one number, the log evidence of the codes; elsewhere it is larger."""
    pair = learned()
    pair.model.double(), pair.guide.double()
    pair.images = pair.images.double()
    shape, rate = best_posterior(pair)
    set_posterior(pair.prior, shape, rate)
    cost = cost_of_codes(pair)
    torch.testing.assert_close(cost, cost[:1].expand_as(cost), rtol=1e-10, atol=1e-10)
    for other in ((1.2 * shape, rate), (shape, 1.2 * rate)):
        set_posterior(pair.prior, *other)
        assert (cost_of_codes(pair).mean(0) > cost[0] + 0.01).all()


def test_svi_finds_it():
    """With the codes held: the mean of q(α) goes to a / b."""
    pair = learned()
    shape, rate = best_posterior(pair)
    for name, parameter in [*pair.guide.named_parameters(), *pair.model.named_parameters()]:
        parameter.requires_grad_(name.startswith("prior.log_"))
    fit(pair.model, pair.guide, pair.images, epochs=100, learning_rate=0.02, **EAGER)
    torch.testing.assert_close(1 / pair.prior.variance, shape / rate, rtol=0.15, atol=0)
    assert (pair.prior.log_shape < math.log(90)).all()  # from 100 on the way to 22


@pytest.mark.parametrize("population", [IMAGES, 1000])
def test_the_precisions_count_once_for_the_data_set(population):
    """A step on 40 of so many images: their KL's share of it is 40 / population, and an image has its own part."""
    pair = learned()
    step = Step(pair.model, pair.guide, BetaELBO(), population=population)
    torch.manual_seed(3)
    _, values = step.eager(pair.images, torch.tensor(()))
    start, found = 0, {}
    for name, _, size in step.layout:
        found[name] = values[start : start + math.prod(size)]
        start += math.prod(size)
    torch.manual_seed(3)
    drawn, scored = pair_traces(pair.model, pair.guide, pair.images)
    of_z, once = (closed_form_rate(drawn.nodes[name], scored.nodes[name]) for name in ("z", "precision"))
    assert once.shape == (LATENTS,)
    torch.testing.assert_close(found["kl"], of_z.mean(0) + once / population)
    torch.testing.assert_close(found["rate"][0], found["kl"].sum())


def test_the_captured_step_is_the_eager_one():
    for pair in (learned(), conjugate()):
        step = Step(pair.model, pair.guide, BetaELBO(), population=1000).double()
        images, numbers = pair.images.double(), torch.tensor(())
        graph = capture(step.eager, images, numbers, preserve=step)
        results = []
        for run in (step.eager, graph):
            twin = {name: buffer.clone() for name, buffer in step.named_buffers()}
            torch.manual_seed(5)
            loss, values = run(images.flip(0), numbers)
            gradients = torch.autograd.grad(loss, [p for p in step.parameters() if p.requires_grad], allow_unused=True)
            results.append((loss.detach(), values, gradients, {n: b.clone() for n, b in step.named_buffers()}))
            for name, buffer in step.named_buffers():
                buffer.copy_(twin[name])
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("make", [learned, conjugate])
def test_a_resumed_run_is_the_uninterrupted_one(make, tmp_path):
    runs = {}
    for name, parts in {"whole": [4], "halves": [2, 4]}.items():
        torch.manual_seed(0)
        pair = make()
        for epochs in parts:
            where = {"directory": tmp_path / name, "resume": epochs == 4 and len(parts) > 1}
            runs[name] = fit(pair.model, pair.guide, pair.images, epochs=epochs, **where, **EAGER), pair.prior.variance
    np.testing.assert_array_equal(runs["halves"][0].loss, runs["whole"][0].loss)
    assert torch.equal(runs["halves"][1], runs["whole"][1])
    assert not torch.allclose(runs["whole"][1], torch.ones(LATENTS))


@pytest.mark.parametrize("make", [learned, conjugate])
def test_it_trains_in_a_script_of_pyros_own(make):
    """All parameters move, the store stays empty, and the conjugate sums take the codes."""
    pair = make()
    both = nn.ModuleList([pair.model, pair.guide])
    before = {name: value.detach().clone() for name, value in both.named_parameters()}
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    svi.step(pair.images)
    assert len(pyro.get_param_store()) == 0
    assert not [name for name, value in both.named_parameters() if torch.equal(value, before[name])]
    if make is conjugate:
        assert pair.prior.codes == IMAGES


def test_in_pyros_own_script_too_they_count_once_for_the_data_set():
    """Under ``spread``: Pyro's loss of a batch is its codes' part and the batch's share of KL(q(α) ‖ p(α))."""
    pair, losses = learned(), []
    batch, elbo = pair.images[:10], TraceMeanField_ELBO()
    for images in (10, 40, 1000):
        torch.manual_seed(3)
        with spread(len(batch), images), torch.no_grad():
            losses.append(elbo.loss(pair.model, pair.guide, batch))
    torch.manual_seed(3)
    drawn, scored = pair_traces(pair.model, pair.guide, batch)
    kl = float(closed_form_rate(drawn.nodes["precision"], scored.nodes["precision"]).sum().detach())
    assert losses[0] - losses[1] == pytest.approx(kl * (1 - 10 / 40), rel=1e-3)
    assert losses[0] - losses[2] == pytest.approx(kl * (1 - 10 / 1000), rel=1e-3)


def test_the_codes_of_all_processes_count():
    """Where another process is taken to hold what this one holds, each code counts twice."""
    alone, shared = conjugate(window=1e9), conjugate(window=1e9)
    z = torch.randn(10, LATENTS)
    alone.prior._take(torch.cat([z, z]))
    with sharing(2, 0, together=False):
        shared.prior._take(z)
    assert shared.prior.codes == 20
    torch.testing.assert_close(shared.prior.squares, alone.prior.squares)


def test_evaluation_holds_the_precisions_at_their_mean():
    """No site but z, whose prior variance is b / a; its average over α, a Student-t, is near."""
    pair = learned()
    set_posterior(pair.prior, 500.0, torch.tensor([100.0, 500.0, 2000.0]))
    torch.testing.assert_close(pair.prior.variance, torch.tensor([0.2, 1.0, 4.0]))
    pair.model.eval()
    nodes = poutine.trace(pair.model).get_trace(size=2).nodes
    assert "precision" not in nodes
    normal = nodes["z"]["fn"].base_dist
    torch.testing.assert_close(normal.variance[0], pair.prior.variance)
    z = torch.linspace(-1, 1, 9)[:, None] * 2 * pair.prior.variance.sqrt()
    student = dist.StudentT(1000.0, 0.0, pair.prior.variance.sqrt())
    torch.testing.assert_close(student.log_prob(z), dist.Normal(0, normal.scale[0]).log_prob(z), rtol=0, atol=5e-3)
    pair.model.train()
    assert "precision" in poutine.trace(pair.model).get_trace(size=2).nodes


@pytest.mark.parametrize("make", [learned, conjugate])
def test_what_is_measured_of_a_trained_pair(make):
    """Export, whose KL is the closed form under b / a, and log p(x), above the ELBO; both change nothing."""
    pair = make()
    fit(pair.model, pair.guide, pair.images, epochs=3, **EAGER)
    before = copy.deepcopy(pair.prior.state_dict())
    tree = from_pyro_svi(pair.model, pair.guide, pair.images, 4)
    q = pair.guide.posterior(pair.images).base_dist
    expected = torch.distributions.kl_divergence(q, dist.Normal(0.0, pair.prior.variance.sqrt()))
    np.testing.assert_allclose(tree["sample_stats"]["kl"], expected.detach(), rtol=1e-4, atol=1e-5)
    assert list(tree["posterior"].data_vars) == ["z"]
    np.testing.assert_allclose(
        tree["sample_stats"]["z_variance"].attrs["prior_variance"], pair.prior.variance, rtol=1e-5
    )
    found = log_marginal(pair.model, pair.guide, pair.images[:4], 50)
    assert (found["log_marginal"] > found["elbo"]).all()
    for name, value in pair.prior.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_conjugate_update_is_the_sum_over_the_last_codes():
    """a = shape + n/2 and b = rate + ½ Σ z² while nothing is forgotten, and n → window when all is full."""
    pair = conjugate(shape=2.0, rate=0.5, window=1e9)
    drawn = []
    for images in pair.images.split(10):
        guide_trace, _ = pair_traces(pair.model, pair.guide, images)
        drawn.append(guide_trace.nodes["z"]["value"].detach())
    shape, rate = pair.prior.posterior
    torch.testing.assert_close(shape, torch.full((LATENTS,), 2.0 + IMAGES / 2))
    torch.testing.assert_close(rate, 0.5 + 0.5 * torch.cat(drawn).square().sum(0))
    torch.testing.assert_close(pair.prior.variance, rate / shape)
    short = conjugate(window=50.0)
    for _ in range(100):
        short.prior._take(torch.full((10, LATENTS), 2.0))
    assert float(short.prior.codes) == pytest.approx(10 / (1 - math.exp(-0.2)), rel=1e-6)
    torch.testing.assert_close(short.prior.squares / short.prior.codes, torch.full((LATENTS,), 4.0))


def test_a_step_is_under_the_codes_before_it():
    """The first batch meets the prior's own rate / shape, whatever its codes are."""
    pair = conjugate(shape=2.0, rate=0.5)
    _, model_trace = pair_traces(pair.model, pair.guide, pair.images)
    torch.testing.assert_close(model_trace.nodes["z"]["fn"].base_dist.variance[0], torch.full((LATENTS,), 0.25))
    assert not torch.allclose(pair.prior.variance, torch.full((LATENTS,), 0.25))


def test_several_draws_of_an_image_are_one_code():
    """As an importance-weighted bound makes them, which the conjugate prior goes with."""
    pair = conjugate(window=1e9)
    check_pair(pair.model, pair.guide, pair.images, ImportanceWeighted(samples=5))
    ImportanceWeighted(samples=5).measure(pair.model, pair.guide, pair.images)
    assert pair.prior.codes == IMAGES


def test_a_conditional_model_shares_them_too():
    prior, label = ARDPrior(LATENTS), LabelCondition(4)
    likelihood = NormalLikelihood(MLPDecoder(LATENTS + label.features, SHAPE, [8]), 0.3)
    model = ConditionalVAE(prior, likelihood, label)
    guide = ARDGuide(ConditionalEncoder(MLPEncoder(SHAPE, [8]), label), LATENTS, prior)
    data = torch.rand(8, *SHAPE), torch.arange(8) % 4
    check_pair(model, guide, data)
    assert poutine.trace(model).get_trace(*data).nodes["precision"]["fn"].batch_shape == ()


@pytest.mark.parametrize(
    ("objective", "line"),
    [(ImportanceWeighted(samples=3), "'precision' is one for all images"), (TotalCorrelation(), "one latent site")],
)
def test_objectives_that_no_shared_site_allows_are_refused(objective, line):
    """Though in evaluation mode there is no such site."""
    pair = learned()
    with pytest.raises(UserError, match=line) as caught:
        check_pair(pair.model, pair.guide, pair.images, objective)
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_fit_are_named():
    pair = learned()
    with pytest.raises(UserError, match=r"'precision' is in the model but not in the guide.*guide=ard") as caught:
        check_pair(pair.model, MeanFieldNormal(MLPEncoder(SHAPE, [8]), LATENTS), pair.images)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="NormalPrior shares none: give prior=ard"):
        ARDGuide(MLPEncoder(SHAPE, [8]), LATENTS, NormalPrior(LATENTS))
    other = VAE(NormalPrior(LATENTS), pair.model.likelihood)
    with pytest.raises(UserError, match=r"'precision' is in the guide but not in the model.*prior=ard"):
        check_pair(other, pair.guide, pair.images)


@pytest.mark.parametrize("kind", [ARDPrior, ConjugateARDPrior])
@pytest.mark.parametrize("name", ["shape", "rate"])
def test_numbers_out_of_range_are_named(kind, name):
    with pytest.raises(UserError, match=f"{name}=0.0: expected a finite number above zero"):
        kind(LATENTS, **{name: 0.0})
    with pytest.raises(UserError, match="window=-1"):
        ConjugateARDPrior(LATENTS, window=-1)
