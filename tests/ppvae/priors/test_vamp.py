"""The VampPrior is the guide's own mixture, and trains the guide and the pseudo-inputs."""

import math

import pyro
import pytest
import torch
from pyro import poutine
from torch import nn

from guides import InverseAutoregressiveGuide, MeanFieldNormal, MixtureOfEncoders, NormalGammaGuide
from ppvae import UserError
from ppvae.networks import MLPEncoder
from ppvae.priors import VampPrior

SHAPE, LATENTS, COMPONENTS = (1, 3, 3), 2, 4


def make_guide(family: type = MeanFieldNormal, **options: object) -> nn.Module:
    return family(MLPEncoder(SHAPE, [6]), LATENTS, **options)


def drawn(prior: nn.Module, count: int) -> dict:
    """The site of ``count`` draws."""
    with pyro.plate("image", count, dim=-1):
        return poutine.trace(prior).get_trace().nodes["z"]


def test_density_is_the_mean_of_the_posteriors():
    """By hand: encoder, heads and the normal density of each pseudo-input."""
    guide = make_guide().double()
    prior = VampPrior(LATENTS, SHAPE, COMPONENTS, guide=guide)
    z = torch.randn(7, LATENTS, dtype=torch.float64)
    features = guide.encoder(prior.logits.sigmoid())
    mean, variance = guide.loc(features), guide.log_variance(features).exp()
    squares = (z[:, None] - mean).square() / variance + (2 * math.pi * variance).log()
    expected = (-0.5 * squares.sum(-1)).logsumexp(-1) - math.log(COMPONENTS)
    torch.testing.assert_close(drawn(prior, 7)["fn"].log_prob(z), expected)


def test_draws_come_from_every_component(within_errors):
    prior = VampPrior(LATENTS, SHAPE, COMPONENTS, guide=make_guide())
    nn.init.normal_(prior.logits, std=3)
    with torch.no_grad():
        site, posterior = drawn(prior, 40_000), prior.components()
        mean = posterior.mean.mean(0)
        variance = posterior.variance.mean(0) + (posterior.mean - mean).square().mean(0)
    within_errors(site["value"], mean, resolution=0.5)
    within_errors((site["value"] - mean).square(), variance, resolution=0.1)
    torch.testing.assert_close(site["fn"].mean[0], mean)
    torch.testing.assert_close(site["fn"].variance[0], variance)


def test_it_trains_the_guide_and_the_pseudo_inputs():
    guide = make_guide()
    prior = VampPrior(LATENTS, SHAPE, COMPONENTS, guide=guide)
    assert {id(p) for p in guide.parameters()} < {id(p) for p in prior.parameters()}
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.5)
    before = {name: value.detach().clone() for name, value in prior.named_parameters()}
    z = torch.randn(20, LATENTS) + 3
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = -drawn(prior, 20)["fn"].log_prob(z).mean()
        loss.backward()
        assert all(p.grad[k].any() for p in [prior.logits] for k in range(COMPONENTS))
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1
    assert not [name for name, value in prior.named_parameters() if torch.equal(value, before[name])]
    assert ((prior.pseudo_inputs >= 0) & (prior.pseudo_inputs <= 1)).all()


def test_initial_pseudo_inputs():
    images = torch.rand(COMPONENTS, *SHAPE) * 0.9 + 0.05
    built = {
        name: VampPrior(LATENTS, SHAPE, COMPONENTS, guide=make_guide(), initial=initial).pseudo_inputs
        for name, initial in (("grey", "grey"), ("noise", "noise"), ("given", images), ("ends", images.round()))
    }
    assert (built["grey"] - 0.5).abs().max() < 0.02
    assert built["noise"].std() > 0.1
    torch.testing.assert_close(built["given"], images)
    torch.testing.assert_close(built["ends"], images.round().clamp(0.01, 0.99))


def test_building_it_changes_no_statistics_of_the_guide():
    guide = make_guide()
    guide.encoder.layers.append(nn.BatchNorm1d(6))
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    VampPrior(LATENTS, SHAPE, COMPONENTS, guide=guide)
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
    assert all(part.training for part in guide.modules())


def test_building_it_changes_no_mode_of_the_guide():
    guide = make_guide()
    guide.train()
    guide.encoder.eval()
    VampPrior(LATENTS, SHAPE, COMPONENTS, guide=guide)
    assert guide.training
    assert guide.loc.training
    assert not guide.encoder.training


class Headless(nn.Module):
    """A guide without ``posterior``."""


@pytest.mark.parametrize(
    ("guide", "options", "match"),
    [
        (InverseAutoregressiveGuide, {}, "InverseAutoregressiveGuide.*latent by latent.*use.*MeanFieldNormal"),
        (NormalGammaGuide, {}, "NormalGammaGuide has no posterior.*use"),
        (MeanFieldNormal, {"components": 0}, "components=0.*expected"),
        (MeanFieldNormal, {"latents": 3}, "prior has 3 latents, MeanFieldNormal has"),
        (MeanFieldNormal, {"image_shape": (3, 3)}, "image_shape is .3, 3.*expected"),
        (MeanFieldNormal, {"image_shape": (1, 4, 4)}, "image_shape is .1, 4, 4.*takes .1, 3, 3"),
        (MeanFieldNormal, {"initial": "black"}, "initial='black'.*noise, grey"),
        (MeanFieldNormal, {"initial": torch.rand(3, *SHAPE)}, "initial images have shape .3, 1, 3, 3.*expected .4, 1"),
        (MeanFieldNormal, {"initial": torch.full((4, *SHAPE), 2.0)}, "initial images leave .0, 1.; scale"),
        (MixtureOfEncoders, {"initial": torch.full((4, *SHAPE), float("nan"))}, "initial images leave"),
    ],
)
def test_mistakes_are_named_in_one_line(guide, options, match):
    arguments = {"latents": LATENTS, "image_shape": SHAPE, "components": COMPONENTS, **options}
    with pytest.raises(UserError, match=match) as error:
        VampPrior(**arguments, guide=make_guide(guide))
    assert "\n" not in str(error.value)


def test_a_module_without_posterior_is_refused():
    with pytest.raises(UserError, match="Headless has no posterior"):
        VampPrior(LATENTS, SHAPE, COMPONENTS, guide=Headless())
