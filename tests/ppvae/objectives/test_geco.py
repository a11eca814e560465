"""The multiplier that meets a reconstruction error: its steps, its ends, what it is told and what it refuses."""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch

from guides import MeanFieldNormal
from ppvae import GECO, VAE, Annealed, BetaELBO, UserError, check_pair, fit
from ppvae.likelihoods import AutoregressiveLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.terms import Terms, pair_traces
from ppvae.priors import NormalPrior

RATES = torch.tensor([[0.1, 3.0], [0.3, 1.0]])  # 2.2 nats on average
EAGER = {"batch_size": 8, "compile": False, "progress": False, "accelerator": "cpu"}


def terms(squared_error: float, score: torch.Tensor | None = None) -> Terms:
    recorded = {"squared_error": ((), torch.tensor([0.5 * squared_error, 1.5 * squared_error]))}
    return Terms(torch.tensor([10.0, 20.0]), {"z": (("latent",), RATES)}, score, recorded, pixels=4, latents=2)


def test_the_loss_is_the_rate_and_the_distortion_under_the_multiplier():
    """Before it moves; the warmth of an annealing is on the rate, and score functions multiply that very cost."""
    objective = GECO(start=0.25)
    assert objective.loss(terms(1.0)).item() == pytest.approx(0.25 * 15 + 2.2)
    assert Annealed(objective=GECO(start=0.25), steps=10, start=0.5).loss(
        terms(1.0), torch.tensor([0.5])
    ).item() == pytest.approx(0.25 * 15 + 1.1)
    score = torch.zeros(2, requires_grad=True)
    (gradient,) = torch.autograd.grad(GECO(start=0.25).loss(terms(1.0, score)), score)
    cost = torch.tensor([0.25 * 10 + 3.1, 0.25 * 20 + 1.3])
    torch.testing.assert_close(gradient, (cost - cost.flip(0)) / 2)


def test_the_multiplier_follows_the_average_of_the_squared_error():
    """λ ← λ exp(rate·(ē²/error² − 1)), cut at ±1; ē² weighs its past by ``smoothing`` and begins with the first."""
    objective = GECO(error=0.1, start=0.5, rate=0.2, smoothing=0.75)
    errors, found, average, weight, expected, multiplier = [0.01, 0.012, 0.5, 0.008], [], 0.0, 0.0, [], 0.5
    for squared in errors:
        objective.loss(terms(squared))
        found.append((float(objective.state.multiplier), float(objective.reported(None)["reconstruction_error"])))
        average, weight = 0.75 * average + 0.25 * squared, 0.75 * weight + 0.25
        multiplier *= math.exp(0.2 * min(1.0, average / weight / 0.01 - 1))
        expected.append((multiplier, (average / weight) ** 0.5))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[0] == pytest.approx((0.5, 0.1))  # met: it stays
    assert found[2][0] == pytest.approx(found[1][0] * math.exp(0.2), rel=1e-5)


@pytest.mark.parametrize(("squared_error", "end"), [(1.0, 50.0), (0.0, 1e-8)])
def test_an_error_out_of_reach_or_met_by_all_ends_at_a_bound(squared_error, end):
    objective = GECO(error=0.01, rate=1.0, largest=50.0)
    for _ in range(100):
        objective.loss(terms(squared_error))
    assert float(objective.state.multiplier) == pytest.approx(end)


def test_measuring_does_not_steer():
    objective = GECO()
    with torch.no_grad():
        objective.loss(terms(1.0))
    assert (objective.state.multiplier, objective.state.weight) == (1, 0)


def test_the_squared_error_is_that_of_the_mean_at_the_draw(pair):
    """Of every pair and likelihood, as both programs are."""
    torch.manual_seed(2)
    found = GECO().measure(pair.model, pair.guide, pair.images)
    torch.manual_seed(2)
    _, model_trace = pair_traces(pair.model, pair.guide, pair.images)
    mean = model_trace.nodes["x"]["fn"].mean
    expected = (mean - pair.images).square().flatten(1).mean(1)
    torch.testing.assert_close(found.recorded["squared_error"][1], expected)
    torch.manual_seed(2)
    known = BetaELBO().measure(pair.model, pair.guide, pair.images)
    torch.testing.assert_close(found.rate, known.rate)
    torch.testing.assert_close(found.distortion, known.distortion)


def test_the_history_holds_multiplier_and_error_and_a_run_is_resumed(build, tmp_path):
    """An error out of reach: λ grows by its most a step; the caller's own objective stays at its start."""
    objective, runs = GECO(error=1e-4, start=0.5, rate=0.1), {}
    for name, parts in {"whole": [4], "halves": [2, 4]}.items():
        torch.manual_seed(0)
        pair = build("normal")
        for epochs in parts:
            where = {"directory": tmp_path / name, "resume": epochs == 4 and len(parts) > 1}
            runs[name] = fit(pair.model, pair.guide, pair.images, objective, epochs=epochs, **where, **EAGER)
    whole = runs["whole"]
    np.testing.assert_array_equal(runs["halves"].loss, whole.loss)
    np.testing.assert_array_equal(runs["halves"].multiplier, whole.multiplier)
    steps = np.arange(1, 9).reshape(4, 2)  # two steps an epoch
    np.testing.assert_allclose(whole.multiplier, (0.5 * np.exp(0.1 * steps)).mean(1), rtol=1e-5)
    np.testing.assert_allclose(whole.reconstruction_error, whole.squared_error**0.5, rtol=0.05)
    assert objective.state.multiplier == 0.5


def test_a_likelihood_without_a_mean_is_refused():
    shape = (1, 4, 4)
    decoder = MLPDecoder(2, shape, [8], maps=4)
    likelihood = AutoregressiveLikelihood(decoder, output="bernoulli", layers=2, channels=4, context=4)
    model, guide = VAE(NormalPrior(2), likelihood), MeanFieldNormal(MLPEncoder(shape, [8]), 2)
    for objective in (GECO(), Annealed(objective=GECO())):
        with pytest.raises(UserError, match="AutoregressiveImage has no mean: use a likelihood with one") as caught:
            check_pair(model, guide, torch.rand(4, *shape).round(), objective)
        assert "\n" not in str(caught.value)


def test_a_mean_that_is_no_number_is_none():
    """As torch's categorical has it."""

    class Levels(NormalLikelihood):
        def forward(self, z):
            return dist.Categorical(logits=self.decoder(z)[..., None].expand(*[-1] * 4, 2)).to_event(3)

    shape = (1, 4, 4)
    model, guide = VAE(NormalPrior(2), Levels(MLPDecoder(2, shape, [8]))), MeanFieldNormal(MLPEncoder(shape, [8]), 2)
    with pytest.raises(UserError, match="Categorical has no mean"):
        check_pair(model, guide, torch.rand(4, *shape).round(), GECO())


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"error": 0.0}, r"error=0\.0: expected a finite number above zero"),
        ({"rate": -1.0}, r"rate=-1\.0"),
        ({"start": 2.0, "largest": 1.0}, r"start=2\.0: expected a number from 1e-08 to largest, which is 1"),
        ({"smoothing": 1.0}, r"smoothing=1\.0"),
        ({"estimator": "x"}, "estimator='x'"),
    ],
)
def test_mistakes_are_named_in_one_line(settings, line):
    with pytest.raises(UserError, match=line) as caught:
        GECO(**settings)
    assert "\n" not in str(caught.value)
