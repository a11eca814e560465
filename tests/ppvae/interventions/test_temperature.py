"""Colder draws: exact relations, as the noise is the same at every temperature."""

from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from ppvae import ConditionalVAE, TwoViewVAE, UserError, from_pyro_svi
from ppvae.distributions import IsotropicNormal
from ppvae.interventions import Tempered, draw_given, draw_images, draws_from_prior
from ppvae.likelihoods import DiscretisedLogisticLikelihood, NormalLikelihood
from ppvae.models import PatchShuffle
from ppvae.networks import LabelCondition, MLPDecoder
from ppvae.priors import NormalPrior

GROUPS = ["z_1", "z_2", "z_3"]


def latents(program) -> dict[str, torch.Tensor]:
    """What it draws under one seed."""
    torch.manual_seed(3)
    trace = poutine.trace(program).get_trace(size=5)
    return {name: trace.nodes[name]["value"] for name in [*GROUPS, "x"]}


def values(pair, **settings) -> torch.Tensor:
    return torch.from_numpy(draw_images(pair.model, 6, seed=2, **settings).values).double()


def test_at_one_the_draws_are_the_models_own(hierarchy):
    pair = hierarchy()
    found = draw_images(pair.model, 7, pixels="draw", seed=4)
    torch.manual_seed(4)
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(found.values), pair.model(size=7))
    assert found.dims == ("draw", "channel", "row", "column")
    for name, value in latents(Tempered(1.0)(pair.model)).items():
        assert torch.equal(value, latents(pair.model)[name])


def test_at_zero_each_latent_is_its_mean_given_those_above(hierarchy):
    """By hand down the network; nothing is drawn, so seeds do not matter."""
    pair = hierarchy()
    with torch.no_grad():
        expected = pair.top_down.walk(lambda name, h: pair.top_down.loc(name, h)).reshape(4, 4)
    cold = [torch.from_numpy(draw_images(pair.model, 3, temperature=0, seed=seed).values) for seed in (0, 1)]
    assert torch.equal(*cold)
    torch.testing.assert_close(cold[0], expected.expand(3, 1, 4, 4))
    assert float(expected.abs().max()) > 0.1


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.5])
def test_a_linear_models_images_move_evenly_with_the_temperature(hierarchy, temperature):
    """x(t) = x(0) + t (x(1) − x(0)) of one noise, where everything is linear and Gaussian."""
    pair = hierarchy()
    cold, own = values(pair, temperature=0), values(pair)
    expected = cold + temperature * (own - cold)
    torch.testing.assert_close(values(pair, temperature=temperature), expected, rtol=1e-5, atol=1e-5)
    assert float((own - cold).abs().mean()) > 0.1


def test_named_sites_alone_are_colder(hierarchy):
    """z_1 as it is, z_2 half as far from its mean, z_3 with the same noise around the mean that follows."""
    pair = hierarchy()
    own, some = latents(pair.model), latents(Tempered(0.5, ["z_2"])(pair.model))
    assert torch.equal(own["z_1"], some["z_1"])
    top_down, means, noise = pair.top_down, {}, {}
    for name, drawn in (("own", own), ("some", some)):
        features = torch.zeros(16)
        for group in GROUPS:
            means[name, group] = top_down.loc(group, features)
            noise[name, group] = drawn[group] - means[name, group]
            features = features + top_down.enter[group](drawn[group].flatten(-3))
    torch.testing.assert_close(noise["some", "z_2"], 0.5 * noise["own", "z_2"])
    torch.testing.assert_close(noise["some", "z_3"], noise["own", "z_3"])
    assert not torch.equal(means["own", "z_3"], means["some", "z_3"])


def test_the_images_are_as_warm_as_ever(hierarchy):
    """The pixels' noise, the last that is drawn, is the model's own at any temperature of its latents."""
    pair = hierarchy()
    own, cold = (latents(Tempered(t)(pair.model)) for t in (1.0, 0.5))
    noise = []
    for drawn in (own, cold):
        features = sum(pair.top_down.enter[group](drawn[group].flatten(-3)) for group in GROUPS)
        noise.append(drawn["x"] - features.reshape(5, 1, 4, 4))
    torch.testing.assert_close(*noise, rtol=1e-4, atol=1e-5)


LOC, FACTOR = torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.0], [0.7, 0.5]])


@pytest.mark.parametrize(
    "normal",
    [
        lambda: dist.Normal(LOC, torch.tensor([0.5, 2.0])).to_event(1),
        lambda: dist.MultivariateNormal(LOC, scale_tril=FACTOR),
        lambda: IsotropicNormal(LOC, torch.tensor(0.3), 1),
    ],
)
@pytest.mark.parametrize("plate_outside", [False, True])
def test_every_normal_keeps_its_noise(normal, plate_outside):
    def program():
        with pyro.plate("image", 4, dim=-1):
            return pyro.sample("z", normal())

    def drawn(temperature):
        torch.manual_seed(0)
        if plate_outside:
            with pyro.plate("image", 4, dim=-1):
                return Tempered(temperature)(partial(pyro.sample, "z", normal()))()
        return Tempered(temperature)(program)()

    assert torch.equal(drawn(0), LOC.expand(4, 2))
    torch.testing.assert_close(drawn(0.3) - LOC, 0.3 * (drawn(1) - LOC))
    assert drawn(1).shape == (4, 2)


def test_what_is_no_normal_has_no_temperature(build):
    pair = build("normal-gamma implicit")
    assert draw_images(pair.model, 3).sizes["draw"] == 3
    for temperature in (0, 0.7):
        with pytest.raises(UserError, match=r"at site 'precision', a Gamma: expected a normal") as caught:
            draw_images(pair.model, 3, temperature=temperature)
        assert "\n" not in str(caught.value)
    assert draw_images(pair.model, 3, temperature=0.7, sites=["z"]).attrs["temperature"] == 0.7


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"temperature": -1}, "temperature=-1: expected a finite number of at least zero"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": 0.5, "sites": ["z_9"]}, "sites='z_9': expected one of z_1, z_2, z_3"),
        ({"size": 0}, "size=0"),
        ({"pixels": "median"}, "pixels='median': expected one of mean, draw"),
    ],
)
def test_wrong_settings_are_named(hierarchy, settings, line):
    with pytest.raises(UserError, match=line) as caught:
        draw_images(hierarchy().model, **settings)
    assert "\n" not in str(caught.value)


def test_drawing_leaves_no_trace(hierarchy):
    pair = hierarchy(norm=True).model.train()
    state, before = torch.get_rng_state(), {name: one.clone() for name, one in pair.state_dict().items()}
    draw_images(pair, 300, temperature=0.8)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, before[name]) for name, one in pair.state_dict().items())
    assert all(module.training for module in pair.modules())


def test_images_stand_for_how_many_where_a_model_takes_no_size(hierarchy):
    pair = hierarchy()

    def of_images(images):
        return pair.model(images)

    found = draw_images(of_images, 6, temperature=0.6, like=pair.images[:4], seed=2)
    torch.testing.assert_close(torch.from_numpy(found.values).double(), values(pair, temperature=0.6))


def test_draws_from_the_prior_take_a_temperature_too(hierarchy):
    """Of one noise, x is linear in the temperature; named sites are those that all are."""
    pair = hierarchy()
    tree = from_pyro_svi(pair.model, pair.guide, pair.images, 2)

    def drawn(temperature, sites=None):
        return draws_from_prior(pair.model, tree, 5, temperature=temperature, sites=sites, seed=1).values

    np.testing.assert_allclose(drawn(0.5), (drawn(0.25) + drawn(0.75)) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(drawn(0.5), drawn(0.5, GROUPS))
    assert not np.allclose(drawn(0.5), drawn(1.0))


def test_draws_given_labels_take_a_temperature_too():
    """At 0 every column has the one code, the mean."""
    model = ConditionalVAE(NormalPrior(2), NormalLikelihood(MLPDecoder(5, (1, 4, 4), (8,)), 0.1), LabelCondition(3))
    cold, own = (draw_given(model, torch.arange(3), 4, temperature=t).values for t in (0.0, 1.0))
    np.testing.assert_allclose(cold, np.broadcast_to(cold[:, :1], cold.shape), rtol=1e-6)
    assert not np.allclose(own, cold)


def test_a_view_beside_the_image_is_left_as_it_is():
    """A two-view model whose likelihoods have no temperature is drawn colder by its latents alone."""
    decoders = (MLPDecoder(latents, (1, 4, 4), (8,), maps=2) for latents in (5, 3))
    likelihoods = [DiscretisedLogisticLikelihood(decoder) for decoder in decoders]
    priors = NormalPrior(2, site="z_global"), NormalPrior(3, site="z_local")
    model = TwoViewVAE(*priors, *likelihoods, PatchShuffle(1))
    own, cold, mean = (draw_images(model, 3, temperature=temperature).values for temperature in (1.0, 0.5, 0.0))
    assert np.ptp(mean, 0).max() < 1e-6  # rounding
    assert 1e-3 < np.abs(cold - mean).max() < np.abs(own - mean).max()
