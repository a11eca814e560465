"""What every likelihood promises: maps, kinds of images, shapes, gradients, draws and capture."""

from typing import get_args

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, UserError, check_pair
from ppvae.likelihoods import (
    AutoregressiveLikelihood,
    BernoulliLikelihood,
    CategoricalLikelihood,
    CountLikelihood,
    DiscretisedLogisticLikelihood,
    LogisticMixtureLikelihood,
    NormalLikelihood,
    RealLikelihood,
)
from ppvae.likelihoods.counts import Counts
from ppvae.networks import ConvDecoder, MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior
from ppvae.svi.capture import capture

RASTER = {"layers": 3, "channels": 6, "context": 4}
CASES = {
    "bernoulli": (BernoulliLikelihood, {}, {"binary"}),
    "surrogate": (BernoulliLikelihood, {"surrogate": True}, {"binary"}),
    "normal": (NormalLikelihood, {"scale": 0.3}, {"binary", "8-bit", "real"}),
    "normal learned": (NormalLikelihood, {"scale_mode": "learned"}, {"binary", "8-bit", "real"}),
    "normal optimal": (NormalLikelihood, {"scale_mode": "optimal"}, {"binary", "8-bit", "real"}),
    "categorical": (CategoricalLikelihood, {}, {"binary", "8-bit"}),
    "logistic": (DiscretisedLogisticLikelihood, {}, {"binary", "8-bit"}),
    "mixture": (LogisticMixtureLikelihood, {"components": 3}, {"binary", "8-bit"}),
    "bernoulli of a table": (BernoulliLikelihood, {"missing": True}, {"binary"}),
    "normal of a table": (RealLikelihood, {"noise": "all"}, {"binary", "8-bit", "real"}),
    "normal by column": (RealLikelihood, {"scale": 0.3}, {"binary", "8-bit", "real"}),
    "normal by entry": (RealLikelihood, {"noise": "entry", "scale": 0.5}, {"binary", "8-bit", "real"}),
    "student": (RealLikelihood, {"tails": "student_t", "degrees": 20.0}, {"binary", "8-bit", "real"}),
    **{name: (CountLikelihood, {"counts": name}, {"binary", "counts"}) for name in get_args(Counts)},
    "raster bernoulli": (AutoregressiveLikelihood, RASTER, {"binary"}),
    "raster categorical": (AutoregressiveLikelihood, {**RASTER, "output": "categorical"}, {"binary", "8-bit"}),
    "raster mixture": (AutoregressiveLikelihood, {**RASTER, "output": "logistic_mixture"}, {"binary", "8-bit"}),
    "raster normal": (AutoregressiveLikelihood, {**RASTER, "output": "normal"}, {"binary", "8-bit", "real"}),
}
IMAGES = {
    "binary": lambda *shape: torch.rand(shape).round(),
    "8-bit": lambda *shape: torch.randint(256, shape) / 255,
    "real": lambda *shape: torch.randn(shape),
    "counts": lambda *shape: torch.randint(2, 9, shape).float(),
}
SHAPE, LATENTS = (3, 4, 5), 3


def build(name: str, shape: tuple[int, int, int] = SHAPE, decoder: type = MLPDecoder) -> nn.Module:
    likelihood, settings, _ = CASES[name]
    return likelihood(decoder(LATENTS, shape, (8,), maps=likelihood.decoder_maps(shape[0], **settings)), **settings)


def images_for(likelihood: nn.Module, *shape: int) -> torch.Tensor:
    return IMAGES["8-bit" if "8-bit" in likelihood.kinds else "binary"](*shape)


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_kinds_are_those_whose_images_are_in_the_support(name):
    _, _, kinds = CASES[name]
    assert build(name).kinds == frozenset(kinds)
    support = build(name)(torch.zeros(2, LATENTS)).support
    accepted = {kind for kind, draw in IMAGES.items() if support.check(draw(2, *SHAPE)).all()}
    accepted -= {"counts"} if "real" in kinds else set()  # which densities of real numbers are none of
    assert accepted == (kinds | {"8-bit"} if name == "surrogate" else kinds)


def test_settings_beyond_its_own_are_ignored(name):
    likelihood, settings, _ = CASES[name]
    assert likelihood.decoder_maps(3, **settings, other=1) == likelihood.decoder_maps(3, **settings)


@pytest.mark.parametrize("shape", [SHAPE, (1, 4, 5)], ids=str)
@pytest.mark.parametrize("decoder", [MLPDecoder, ConvDecoder])
def test_leading_dims_become_the_batch_shape(name, shape, decoder):
    likelihood = build(name, shape, decoder).eval()
    for lead in [(), (2,), (3, 2)]:
        z, x = (
            torch.randn(*lead, LATENTS),
            images_for(likelihood, 2, *shape) if lead else images_for(likelihood, *shape),
        )
        distribution = likelihood(z)
        assert (distribution.batch_shape, distribution.event_shape) == (lead, shape)
        log_prob = distribution.log_prob(x)
        assert log_prob.shape == lead
        if len(lead) == 2:
            torch.testing.assert_close(log_prob[1, 0], likelihood(z[1, 0]).log_prob(x[0]))


def test_every_parameter_gets_a_gradient(name):
    likelihood = build(name)
    likelihood(torch.randn(6, LATENTS)).log_prob(images_for(likelihood, 6, *SHAPE)).sum().backward()
    missing = [key for key, p in likelihood.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing
    assert all(torch.isfinite(parameter.grad).all() for parameter in likelihood.parameters())


def test_draws_are_in_the_support_and_scored(name):
    likelihood = build(name)
    distribution = likelihood(torch.randn(4, LATENTS))
    with pyro.validation_enabled(True):
        for x in (distribution.sample(), distribution.expand((2, 4)).sample(), distribution.sample((5,))):
            assert distribution.support.check(x).all()
            assert not x.requires_grad
            assert torch.isfinite(distribution.log_prob(x)).all()
            assert distribution.log_prob(x).shape == x.shape[:-3]


def test_expanding_changes_no_density(name):
    likelihood = build(name).eval()
    x = images_for(likelihood, 2, *SHAPE)
    distribution = likelihood(torch.randn(2, LATENTS))
    expanded = distribution.expand((3, 2))
    assert (expanded.batch_shape, expanded.event_shape) == ((3, 2), SHAPE)
    torch.testing.assert_close(expanded.log_prob(x), distribution.log_prob(x).expand(3, 2))
    if not name.startswith("raster"):  # which has no mean
        torch.testing.assert_close(expanded.mean, distribution.mean.expand(3, 2, *SHAPE))


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("raster")])
def test_draws_are_around_the_mean(name, within_errors):
    """One channel, where every mean is exact."""
    likelihood = build(name, (1, 4, 5)).eval()
    distribution = likelihood(torch.randn(LATENTS))
    assert not distribution.has_rsample or name.startswith(("normal", "student"))
    within_errors(distribution.sample((40_000,)), distribution.mean, resolution=0.06)


def test_capture_gives_eager_values_and_gradients(name):
    """For images and latents that it has not seen."""
    likelihood = build(name)

    def loss(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return -likelihood(z).log_prob(x).mean()

    z, parameters = torch.randn(2, 6, LATENTS), list(likelihood.parameters())
    graph = capture(loss, z, images_for(likelihood, 6, *SHAPE), preserve=likelihood)
    z, x = torch.randn(2, 6, LATENTS), images_for(likelihood, 6, *SHAPE)
    torch.testing.assert_close(graph(z, x), loss(z, x))
    recorded, eager = (torch.autograd.grad(run(z, x), parameters) for run in (graph, loss))
    for first, second in zip(recorded, eager, strict=True):
        torch.testing.assert_close(first, second)


def test_it_observes_images_under_both_plates(name):
    model = VAE(NormalPrior(LATENTS), build(name)).eval()
    images = images_for(model.likelihood, 4, *SHAPE)
    with pyro.plate("draws", 2, dim=-2):
        trace = poutine.trace(model).get_trace(images)
    trace.compute_log_prob()
    site = trace.nodes["x"]
    assert site["log_prob"].shape == (2, 4)
    torch.testing.assert_close(site["log_prob"], model.likelihood(trace.nodes["z"]["value"]).log_prob(images))
    assert model(size=7).shape == (7, *SHAPE)


def test_check_pair_names_the_images_it_wants(name):
    model, guide = VAE(NormalPrior(LATENTS), build(name)), MeanFieldNormal(MLPEncoder(SHAPE, (8,)), LATENTS)
    check_pair(model, guide, images_for(model.likelihood, 4, *SHAPE))
    if "real" in model.likelihood.kinds:
        return
    wanted = "8-bit: multiples of 1/255" if "8-bit" in model.likelihood.kinds else "Boolean|Interval|Integer"
    with pytest.raises(UserError, match=f"site 'x': some values .* outside the support .*({wanted})") as error:
        check_pair(model, guide, IMAGES["real"](4, *SHAPE))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("decoder", [MLPDecoder, ConvDecoder])
def test_a_decoder_of_other_maps_is_refused_with_the_number_needed(name, decoder):
    likelihood, settings, _ = CASES[name]
    needed = likelihood.decoder_maps(3, **settings)
    with pytest.raises(UserError, match=f"gives 7 maps; .*needs {needed}: build the decoder with maps={needed}") as e:
        likelihood(decoder(LATENTS, SHAPE, maps=7), **settings)
    assert "\n" not in str(e.value)


def test_a_foreign_decoder_need_not_count_its_maps(name, constant):
    likelihood, settings, _ = CASES[name]
    maps = torch.randn(likelihood.decoder_maps(3, **settings), 4, 5)
    assert likelihood(constant(maps, 3), **settings)(torch.zeros(2, LATENTS)).event_shape == SHAPE


@pytest.mark.parametrize("name", ["categorical", "logistic"])
def test_a_foreign_decoder_is_refused_when_it_draws(name, constant):
    likelihood, _, _ = CASES[name]
    needed = likelihood.decoder_maps(1)
    with pytest.raises(UserError, match=f"gives 7 maps; the likelihood needs a multiple of {needed}") as error:
        likelihood(constant(torch.zeros(7, 4, 5), 3))(torch.zeros(2, LATENTS))
    assert "\n" not in str(error.value)
