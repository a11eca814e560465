"""Colder draws: exact relations, as the noise is the same at every temperature."""

from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from pyro import poutine

from guides import MeanFieldNormal
from ppvae import ConditionalVAE, TwoViewVAE, UserError, from_pyro_svi
from ppvae.distributions import AutoregressiveImage, IsotropicNormal
from ppvae.interventions import Tempered, draw_given, draw_images, draws_from_prior
from ppvae.likelihoods import DiscretisedLogisticLikelihood, NormalLikelihood
from ppvae.models import PatchShuffle
from ppvae.networks import LabelCondition, MLPDecoder, MLPEncoder
from ppvae.priors import (
    AutoregressiveFlowPrior,
    AutoregressiveMapPrior,
    ClusterPrior,
    HorseshoePrior,
    MixturePrior,
    NormalGammaPrior,
    NormalPrior,
    SpikeAndSlabPrior,
    StudentTPrior,
    VampPrior,
)

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
        lambda: dist.StudentT(3.0, LOC, torch.tensor([0.5, 2.0])).to_event(1),
        lambda: dist.Laplace(LOC, torch.tensor([0.5, 2.0])).to_event(1),
        lambda: dist.Cauchy(LOC, torch.tensor([0.5, 2.0])).to_event(1),
    ],
)
@pytest.mark.parametrize("plate_outside", [False, True])
def test_every_location_and_scale_keeps_its_noise(normal, plate_outside):
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


def colder(prior, temperature: float, size: int, sites=None) -> torch.Tensor:
    """What the prior returns, (size, ...), under one seed."""
    torch.manual_seed(0)
    with torch.no_grad(), pyro.plate("image", size, dim=-1):
        return Tempered(temperature, sites)(prior)()


def within_and_between(weights, scales, means=0.0):
    """The variance of a mixture within its components and between their means, (..., component) or (component, ...)."""
    within = (weights * scales**2).sum(-1)
    return within, (weights * means**2).sum(-1) - (weights * means).sum(-1) ** 2


def parts(prior) -> tuple[torch.Tensor, torch.Tensor]:
    """The variance of z that its noise makes, and that which its choice of a component makes, in closed form."""
    match prior:
        case NormalPrior():
            return torch.ones(2), torch.zeros(2)
        case StudentTPrior():
            return (prior.scale**2 * prior.freedom / (prior.freedom - 2)), torch.zeros(2)
        case NormalGammaPrior():
            return prior.rate / (prior.shape - 1), torch.zeros(2)
        case HorseshoePrior():
            return within_and_between(prior.logits.softmax(-1), prior.scales)
        case SpikeAndSlabPrior():
            return prior.logits.sigmoid(), torch.zeros(2)
        case MixturePrior() | ClusterPrior():
            weights = prior.logits.softmax(-1).expand(2, -1)
            return within_and_between(weights, prior.log_scale.exp().T, prior.loc.T)
    each = prior.components()
    weights = torch.full_like(each.mean.T, 1 / len(each.mean))
    return within_and_between(weights, each.variance.T.sqrt(), each.mean.T)


def vamp() -> VampPrior:
    guide = MeanFieldNormal(MLPEncoder((1, 4, 4), (8,)), 2)
    with torch.no_grad():
        guide.loc.weight.mul_(5)
    return VampPrior(2, (1, 4, 4), 3, guide=guide)


PRIORS = {
    "normal": lambda: NormalPrior(2),
    "student_t": lambda: StudentTPrior(2),
    "normal_gamma": lambda: NormalGammaPrior(2),
    "horseshoe": lambda: HorseshoePrior(2),
    "spike_and_slab": lambda: SpikeAndSlabPrior(2, 0.3),
    "mixture": lambda: MixturePrior(2, 3),
    "cluster": lambda: ClusterPrior(2, 3),
    "vamp": vamp,
}


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", PRIORS)
def test_the_variance_is_that_of_the_noise_times_the_squared_temperature(name, temperature):
    """t² V_noise + V_components, within five standard errors of 40 000 draws."""
    torch.manual_seed(1)
    prior, size = PRIORS[name](), 40_000
    with torch.no_grad():
        noise, components = parts(prior)
    z = colder(prior, temperature, size)
    expected, centred = temperature**2 * noise + components, z - z.mean(0)
    error = ((centred**4).mean(0) - z.var(0) ** 2).clamp(min=0).sqrt() / size**0.5
    assert ((z.var(0) - expected).abs() <= 5 * error + 1e-6).all()


def test_normal_gamma_draws_are_as_cold_as_those_of_the_student_t_that_it_is():
    """The same quartiles, at a temperature: what t multiplies is the same in both."""
    drawn = [colder(prior(2), 0.5, 40_000) for prior in (NormalGammaPrior, StudentTPrior)]
    expected = 0.5 * (3.62 / 8.25) ** 0.5 * scipy.stats.t.ppf(0.75, 16.5)
    for z in drawn:
        assert torch.quantile(z, 0.75) == pytest.approx(expected, rel=0.02)


def test_a_flow_is_of_colder_noise():
    """f(t·ε) of the ε that made the draw: the flow's own way back says so."""
    torch.manual_seed(0)
    prior = AutoregressiveFlowPrior(3, 2, (8,))
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)

    def noise(z: torch.Tensor) -> torch.Tensor:
        for transform in prior.flow.transforms():
            z = transform(z)
        return z

    own, cold = (noise(colder(prior, temperature, 50)) for temperature in (1.0, 0.6))
    torch.testing.assert_close(cold, 0.6 * own, rtol=1e-3, atol=1e-4)
    assert np.ptp(colder(prior, 0.0, 50).numpy(), 0).max() == 0


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_a_map_is_colder_place_by_place(temperature):
    """Each place's distance from its location, given the places before it, is t times that of its noise."""
    torch.manual_seed(0)
    prior = AutoregressiveMapPrior(2, (2, 3, 3), hidden=(4,), layers=2, channels=4, context=2)

    def noise(drawn_at: float) -> torch.Tensor:
        torch.manual_seed(0)
        with torch.no_grad(), pyro.plate("image", 5, dim=-1):
            trace = poutine.trace(Tempered(drawn_at, "z_1")(prior)).get_trace()
            z_1, z_2 = (trace.nodes[site]["value"] for site in ("z_1", "z_2"))
            trace.compute_log_prob()
            places = AutoregressiveImage(prior.network, prior.places, prior.decoder(z_2)).given(z_1).base_dist
        if drawn_at:
            scored = dist.Normal(places.loc, drawn_at * places.scale).log_prob(z_1).sum((-3, -2, -1))
            torch.testing.assert_close(trace.nodes["z_1"]["log_prob"], scored)
        return (z_1 - places.loc) / places.scale

    torch.testing.assert_close(noise(temperature), temperature * noise(1.0), rtol=1e-4, atol=1e-5)


def test_parameters_of_a_latent_and_clusters_are_drawn_as_ever(build):
    """Of one noise; z alone is colder."""
    prior = ClusterPrior(2, 3)
    own, cold = (poutine.trace(lambda t=t: colder(prior, t, 9)).get_trace().nodes for t in (1.0, 0.5))
    assert torch.equal(own["cluster"]["value"], cold["cluster"]["value"])
    assert not torch.equal(own["z"]["value"], cold["z"]["value"])
    model = build("normal-gamma implicit").model
    half = draw_images(model, 3, temperature=0.5)
    assert half.equals(draw_images(model, 3, temperature=0.5, sites=["z"]))
    assert not half.equals(draw_images(model, 3))


def test_what_has_no_noise_has_no_temperature(build):
    """A Gamma or a category that is asked for, a model of categories alone: one line, unless the temperature is 1."""
    gamma = partial(draw_images, build("normal-gamma implicit").model, 3, sites=["precision"])

    def categories(size: int = 1) -> torch.Tensor:
        with pyro.plate("image", size, dim=-1):
            y = pyro.sample("y", dist.OneHotCategorical(logits=torch.zeros(16)))
            return pyro.sample("x", dist.Normal(y.reshape(-1, 1, 4, 4), 0.1).to_event(3))

    for temperature in (0, 0.7):
        for call, line in (
            (gamma, "at site 'precision', a Gamma: expected normal noise, which it multiplies"),
            (
                partial(draw_images, categories, 3, sites="y"),
                "at site 'y', a OneHotCategorical: expected",
            ),
            (
                partial(draw_images, categories, 3),
                "the model's latents are discrete, y, and have no noise",
            ),
        ):
            with pytest.raises(UserError, match=line) as caught:
                call(temperature=temperature)
            assert "\n" not in str(caught.value)
            assert call(temperature=1).sizes["draw"] == 3


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"temperature": -1}, "temperature=-1: expected a finite number of at least zero"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": 0.5, "sites": ["z_9"]}, "sites='z_9': expected one of z_1, z_2, z_3"),
        ({"values": {"z_9": torch.zeros(40, 1)}}, "values='z_9': expected one of z_1, z_2, z_3"),
        ({"values": {"z_1": torch.zeros(3, 2, 1, 1)}}, "values of 'z_1': 3 for 40 draws; give one for each"),
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
