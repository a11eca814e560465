"""Inputs beside images: the conditional pair against enumeration by hand, and everywhere that images are given."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from torch import nn

from guides import FullCovarianceNormal, InverseAutoregressiveGuide, MeanFieldNormal, MixtureOfEncoders, StudentTGuide
from ppvae import (
    VAE,
    BetaELBO,
    ImportanceWeighted,
    Program,
    UserError,
    check_pair,
    elbo_surgery,
    examine,
    fit,
    from_pyro_svi,
    log_marginal,
    rank_simulations,
)
from ppvae.datasets import ImageDataset
from ppvae.likelihoods import NormalLikelihood
from ppvae.models import ConditionalVAE
from ppvae.networks import ConditionalEncoder, ImageCondition, LabelCondition, MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

SHAPE, LATENTS, LEVELS = (1, 4, 4), 2, 3


def conditional(guide=MeanFieldNormal) -> tuple[nn.Module, nn.Module]:
    condition = LabelCondition(LEVELS)
    decoder = MLPDecoder(LATENTS + LEVELS, SHAPE, (8,))
    encoder = ConditionalEncoder(MLPEncoder(SHAPE, (8,)), condition)
    model = ConditionalVAE(NormalPrior(LATENTS), NormalLikelihood(decoder, scale=0.3), condition)
    return model, guide(encoder, LATENTS)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(12, *SHAPE)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.arange(12) % LEVELS


SWITCH, STATES = torch.tensor([[0.2, 0.5, 0.9], [0.6, 0.3, 0.1]]), torch.tensor([0.35, 0.65])


class Switch(Program):
    """c ~ Bernoulli-like over two states, x | c, y ~ Bernoulli(SWITCH[c, y]): log p(x | y) by two terms."""

    def forward(self, images, labels):
        with pyro.plate("image", len(images), dim=-1):
            c = pyro.sample("c", dist.Categorical(STATES))
            p = SWITCH[c, labels][..., None, None, None]
            pyro.sample("x", dist.Bernoulli(p).to_event(3), obs=images)


class SwitchGuide(Program):
    def forward(self, images, labels):
        p = SWITCH[:, labels]
        likely = torch.where(images.flatten() == 1, p, 1 - p) * STATES[:, None]
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("c", dist.Categorical(likely.T / likely.sum(0)[:, None]))


def test_conditional_bounds_are_those_of_enumeration():
    """The exact guide q(c | x, y): each draw's bound is log p(x | y), for all six pairs of a pixel and a label."""
    images = torch.tensor([0.0, 1.0]).repeat_interleave(3)[:, None, None, None]
    labels = torch.arange(3).repeat(2)
    by_hand = torch.where(images.flatten() == 1, SWITCH[:, labels], 1 - SWITCH[:, labels])
    by_hand = (STATES[:, None] * by_hand).sum(0).log()
    terms = BetaELBO().measure(Switch(), SwitchGuide(), (images, labels))
    loss = SVI(Switch(), SwitchGuide(), Adam({"lr": 1e-3}), BetaELBO(estimator="trace")).evaluate_loss(images, labels)
    assert loss == pytest.approx(-float(by_hand.mean()), rel=1e-5)
    torch.testing.assert_close(-(terms.distortion + terms.rate).mean(), by_hand.mean(), rtol=1, atol=1)
    found = log_marginal(Switch(), SwitchGuide(), (images, labels), 4)
    torch.testing.assert_close(torch.from_numpy(found["log_marginal"].values).float(), by_hand)
    tree = from_pyro_svi(Switch(), SwitchGuide(), (images, labels), 8)
    elbo = torch.from_numpy(tree["sample_stats"]["elbo"].values)
    torch.testing.assert_close(elbo, by_hand)


@pytest.mark.parametrize(
    "guide", [MeanFieldNormal, FullCovarianceNormal, InverseAutoregressiveGuide, MixtureOfEncoders, StudentTGuide]
)
def test_every_guide_takes_a_conditional_encoder(guide, images, labels):
    """Another label moves the posterior and the bound; the same label gives the same."""
    model, guide = conditional(guide)
    check_pair(model, guide, (images, labels))
    first, other = guide.posterior(images, labels), guide.posterior(images, (labels + 1) % LEVELS)
    torch.manual_seed(0)
    drawn = first.sample()
    torch.manual_seed(0)
    assert not torch.equal(drawn, other.sample())
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, guide.posterior(images, labels).sample())


def test_plain_svi_and_our_objective_see_one_bound(images, labels):
    model, guide = conditional()
    svi = SVI(model, guide, Adam({"lr": 1e-3}), Trace_ELBO())
    torch.manual_seed(3)
    pyros = svi.evaluate_loss(images, labels) / len(images)
    torch.manual_seed(3)
    ours = BetaELBO(estimator="trace")(model, guide, images, labels)
    assert ours.item() == pytest.approx(pyros, rel=1e-5)


@pytest.mark.parametrize("execution", [False, True])
def test_training_shuffles_images_and_inputs_together(execution):
    """x is its label's constant: with labels in step the pair learns it, with labels out of step it cannot."""
    labels = torch.randint(0, LEVELS, (192,))
    images = (labels / (LEVELS - 1))[:, None, None, None].expand(-1, *SHAPE).contiguous()
    options = {"epochs": 25, "batch_size": 32, "learning_rate": 0.03, "compile": execution, "progress": False}
    losses = []
    for given in (labels, labels.roll(1)):
        torch.manual_seed(0)
        model, guide = conditional()
        guide.loc.requires_grad_(False).weight.zero_()  # so that z says nothing of x
        guide.log_variance.requires_grad_(False).weight.zero_()
        losses.append(float(fit(model, guide, (images, given), BetaELBO(), **options)["loss"][-1]))
    assert losses[0] < losses[1] - 5, losses


def test_a_data_set_brings_its_inputs(images, labels):
    """Names of factors, in epochs, batches, subsets and exports; the tree holds them by name."""
    data = ImageDataset(images, {"label": labels.numpy()}, inputs=("label",))
    pair = conditional()
    history = fit(*pair, data, epochs=1, batch_size=4, progress=False, compile=False)
    again = conditional()
    for part, source in zip(again, pair, strict=True):
        part.load_state_dict(source.state_dict())
    assert history.sizes["epoch"] == 1
    whole = log_marginal(*pair, data, 8)
    torch.manual_seed(0)
    as_tuple = log_marginal(*pair, data.arguments(), 8)
    assert (whole["log_marginal"] == as_tuple["log_marginal"]).all()
    tree = from_pyro_svi(*pair, data, 4)
    assert tree["constant_data"].attrs["inputs"] == ["label"]
    assert tree["constant_data"]["label"].values.tolist() == labels.tolist()
    batch, given = next(iter(data.subset([5, 3, 8]).batches(3)))
    assert given.tolist() == labels[[5, 3, 8]].tolist()
    torch.testing.assert_close(batch, data.observed([5, 3, 8]))
    assert "inputs: label" in repr(data)
    assert list(data.with_inputs(mask=images > 0.5).inputs) == ["mask"]


def test_streamed_exports_take_inputs_and_know_them(tmp_path, images, labels):
    pair, path = conditional(), tmp_path / "codes.zarr"
    streamed = from_pyro_svi(*pair, (images, labels), 4, store=path, batch_size=16)
    whole = from_pyro_svi(*pair, (images, labels), 4, batch_size=16)
    assert (streamed["posterior"]["z"].values == whole["posterior"]["z"].values).all()
    assert whole["constant_data"].attrs["inputs"] == ["input_2"]
    with pytest.raises(UserError, match="with pixels="):
        from_pyro_svi(*pair, (images, labels.roll(1)), 4, store=path, batch_size=16)


def test_everything_that_examines_a_pair_takes_inputs(images, labels):
    pair, data = conditional(), (images, labels)
    tree = examine(*pair, data, num_samples=4, simulations=20, aggregate_images=6)
    assert {"calibration", "aggregate", "prior_predictive"} <= set(tree.children)
    assert rank_simulations(*pair, data, 24, 5).sizes["simulation"] == 24
    cap = elbo_surgery(*pair, data).attrs["cap"]
    assert cap == pytest.approx(torch.tensor(12.0).log().item())
    loss = ImportanceWeighted(samples=3)(*pair, *data)
    assert loss.isfinite()


def test_an_image_is_the_condition_of_another():
    """Grey → colour: the condition is an image of another shape, which no check takes for the image itself."""
    colours = torch.rand(8, 3, 4, 4)
    grey = colours.mean(1, keepdim=True)
    condition = ImageCondition(MLPEncoder((1, 4, 4), (5,)))
    model = ConditionalVAE(
        NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS + 5, (3, 4, 4), (8,)), scale=0.3), condition
    )
    guide = MeanFieldNormal(ConditionalEncoder(MLPEncoder((3, 4, 4), (8,)), condition), LATENTS)
    data = ImageDataset(colours, inputs={"grey": grey})
    check_pair(model, guide, (colours, grey))
    fit(model, guide, data, epochs=1, batch_size=4, progress=False, compile=False)
    assert from_pyro_svi(model, guide, data, 2)["constant_data"]["grey"].shape == (8, 1, 4, 4)
    assert model(given=grey).shape == colours.shape


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((), "the guide was called with images alone"),
        ((torch.arange(11) % 3,), r"input 2 has shape \(11,\), there are 12 images"),
        ((torch.tensor(1),), r"input 2 has shape \(\), there are 12 images"),
        (([0] * 12,), "input 2 is a list; expected a torch tensor"),
        ((torch.full((12,), float("nan")),), "input 2 holds NaN"),
        ((torch.rand(12),), "labels are torch.float32; expected whole numbers from 0 to 2"),
        ((torch.arange(12) % 3, torch.zeros(12)), "called with images and 2 more"),
    ],
)
def test_inputs_that_do_not_fit_end_in_one_line(images, given, match):
    for call in (check_pair, fit, log_marginal, from_pyro_svi, rank_simulations, elbo_surgery, examine):
        with pytest.raises(UserError, match=match) as found:
            call(*conditional(), (images, *given))
        assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        (("labl",), "inputs has 'labl', expected a factor of these images: did you mean 'label'"),
        (("hue",), "these are label"),
        ("label", r"inputs='label': expected a list of names, such as \['label'\]"),
        ({"mask": torch.zeros(3)}, r"input 'mask' has shape \(3,\); expected \(12, ...\)"),
        ({"name": ["a"] * 12}, "input 'name' holds .* values; expected numbers"),
    ],
)
def test_a_data_sets_inputs_are_checked(images, labels, inputs, match):
    with pytest.raises(UserError, match=match):
        ImageDataset(images, {"label": labels.numpy()}, inputs=inputs)


def test_sizes_of_a_conditional_pair_must_agree():
    decoder = MLPDecoder(LATENTS, SHAPE, (8,))
    with pytest.raises(UserError, match="prior has 2 latents and the condition 3 features but the decoder takes 2"):
        ConditionalVAE(NormalPrior(LATENTS), NormalLikelihood(decoder), LabelCondition(LEVELS))


def test_an_unconditional_pair_refuses_labels(images, labels):
    model = VAE(NormalPrior(LATENTS), NormalLikelihood(MLPDecoder(LATENTS, SHAPE, (8,))))
    guide = MeanFieldNormal(MLPEncoder(SHAPE, (8,)), LATENTS)
    with pytest.raises(UserError, match="called with images and 1 more"):
        check_pair(model, guide, (images, labels))
