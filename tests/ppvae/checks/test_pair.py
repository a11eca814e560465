"""A catalogue of legal and illegal pairs, each illegal one with its one line."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal, NormalGammaGuide
from ppvae import VAE, BetaELBO, Program, UserError, check_pair, record
from ppvae.checks import check_images, check_sites
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from ppvae.priors import NormalGammaPrior, NormalPrior

SHAPE, LATENTS = (1, 8, 8), 3
MEAN_FIELD, TRACE = BetaELBO(estimator="mean_field"), BetaELBO(estimator="trace")
INFER = {"event_dims": ["latent"]}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1))


def prior(kind: str = "normal") -> nn.Module:
    return NormalPrior(LATENTS) if kind == "normal" else NormalGammaPrior(LATENTS)


def likelihood() -> nn.Module:
    return NormalLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[8]), scale=0.1)


def encoder() -> nn.Module:
    return MLPEncoder(SHAPE, hidden=[8])


def written(*sites: tuple[str, dist.TorchDistribution], latents: int = LATENTS, observe: bool = False) -> Callable:
    """A plain function that draws ``sites``, elementwise distributions over the latents, for each image."""

    def program(images):
        with pyro.plate("image", len(images), dim=-1):
            for name, distribution in sites:
                expanded = distribution.expand([len(images), latents]).to_event(1)
                pyro.sample(name, expanded, infer=INFER)
            if observe:
                pyro.sample("x", dist.Normal(torch.zeros(SHAPE), 1.0).to_event(3), obs=images)

    return program


written_guide = written


def written_model(*sites) -> Callable:
    """The same as a model of images of noise."""
    return written(*sites, observe=True)


def refused(model, guide, images, objective=None) -> str:
    """The line with which the pair is refused."""
    with pytest.raises(UserError) as caught:
        check_pair(model, guide, images, objective)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert len(message) < 300
    return message


# Legal pairs


LEGAL = {
    "vanilla": lambda: (VAE(prior(), likelihood()), MeanFieldNormal(encoder(), LATENTS)),
    "normal-gamma implicit": lambda: (VAE(prior("ng"), likelihood()), NormalGammaGuide(encoder(), LATENTS)),
    "normal-gamma g-rep": lambda: (
        VAE(prior("ng"), likelihood()),
        NormalGammaGuide(encoder(), LATENTS, estimator="g-rep"),
    ),
    "convolutional": lambda: (
        VAE(prior(), NormalLikelihood(ConvDecoder(LATENTS, SHAPE, channels=[4, 4]), scale_mode="learned")),
        MeanFieldNormal(ConvEncoder(SHAPE, channels=[4, 4]), LATENTS),
    ),
    "functions": lambda: (
        written_model(("z", dist.Normal(0.0, 1.0))),
        written_guide(("z", dist.Normal(1.0, 2.0))),
    ),
    "positive supports by two names": lambda: (
        written_model(("z", dist.Gamma(1.0, 1.0))),
        written_guide(("z", dist.Exponential(1.0))),
    ),
    "discrete": lambda: (
        written_model(("z", dist.Bernoulli(0.5))),
        written_guide(("z", dist.Bernoulli(0.25))),
    ),
}


@pytest.mark.parametrize("objective", [None, MEAN_FIELD, TRACE], ids=["any", "mean_field", "trace"])
@pytest.mark.parametrize("name", LEGAL)
def test_legal_pairs_pass_in_silence(name, objective, images, capfd):
    model, guide = LEGAL[name]()
    assert check_pair(model, guide, images, objective) is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (dist.LogNormal(0.0, 1.0), dist.Gamma(1.0, 1.0)),
        (dist.StudentT(4.0), dist.Normal(0.0, 1.0)),
        (dist.Beta(2.0, 2.0), dist.Uniform(0.0, 1.0)),
    ],
    ids=["log-normal and gamma", "student and normal", "beta and uniform"],
)
def test_other_families_on_one_support_pass_with_trace(q, p, images):
    check_pair(written_model(("z", p)), written_guide(("z", q)), images, TRACE)


def test_binary_images_pass_a_bernoulli(images):
    model = VAE(prior(), BernoulliLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[8])))
    check_pair(model, MeanFieldNormal(encoder(), LATENTS), images.round(), MEAN_FIELD)


def test_recorded_and_auxiliary_sites_are_the_guides_own(images):
    class Recording(MeanFieldNormal):
        def forward(self, images):
            with pyro.plate("image", len(images), dim=-1):
                start = pyro.sample("start", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
                record("size", self.posterior(images).stddev + 0 * start[:, None])
                pyro.sample("z", self.posterior(images), infer=INFER)

    check_pair(VAE(prior(), likelihood()), Recording(encoder(), LATENTS), images, MEAN_FIELD)


# Illegal pairs


def test_a_site_of_the_model_alone(images):
    message = refused(VAE(prior("ng"), likelihood()), MeanFieldNormal(encoder(), LATENTS), images)
    assert "'precision' is in the model but not in the guide" in message
    assert "'z'" in message


def test_a_site_of_the_guide_alone(images):
    message = refused(VAE(prior(), likelihood()), NormalGammaGuide(encoder(), LATENTS), images)
    assert "'precision' is in the guide but not in the model" in message


def test_a_misspelt_site(images):
    normal = dist.Normal(0.0, 1.0)
    message = refused(written_model(("z", normal)), written_guide(("Z", normal)), images)
    assert "'z'" in message
    assert "'Z'" in message


def test_a_guide_that_draws_nothing(images):
    message = refused(VAE(prior(), likelihood()), lambda images: None, images)  # noqa: ARG005
    assert "no sites" in message


def test_other_event_shapes(images):
    normal = dist.Normal(0.0, 1.0)
    message = refused(written_model(("z", normal)), written_guide(("z", normal), latents=5), images)
    assert "'z' has event shape (5,) in the guide but (3,) in the model" in message


def test_other_event_shapes_of_modules(images):
    message = refused(VAE(prior(), likelihood()), MeanFieldNormal(encoder(), 4), images)
    assert "event shape (4,) in the guide but (3,) in the model" in message


def test_other_batch_shapes(images):
    def guide(images):  # noqa: ARG001
        pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1), infer=INFER)

    message = refused(VAE(prior(), likelihood()), guide, images)
    assert "'z' has batch shape () in the guide but (4,) in the model" in message


def test_sites_without_the_plate_of_images(images):
    """Both programs agree, so the pair trains; yet there is no log density of each image."""

    def program(images, *, observe=False):
        pyro.sample("z", dist.Normal(torch.zeros(len(images), LATENTS), 1.0).to_event(2), infer=INFER)
        if observe:
            pyro.sample("x", dist.Normal(torch.zeros(SHAPE), 1.0).expand(images.shape).to_event(4), obs=images)

    def observing(images):
        program(images, observe=True)

    check_pair(observing, program, images)
    with pytest.raises(UserError, match=r"'z' of the guide has batch shape \(\); expected \(4,\)") as caught:
        check_sites(observing, program, images)
    assert "model_args=(images,)" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_observation_of_each_pixel(images):
    def model(images):
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1), infer=INFER)
        with pyro.plate("row", 8, dim=-2), pyro.plate("image again", len(images), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(8), 1.0).to_event(1), obs=images[:, 0].transpose(0, 1))

    with pytest.raises(UserError, match=r"'x' of the model has batch shape \(8, 4\); expected \(4,\)"):
        check_sites(model, written_guide(("z", dist.Normal(0.0, 1.0))), images)


def test_latents_left_in_the_batch_shape(images):
    def guide(images):
        with pyro.plate("latent", LATENTS, dim=-2), pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    message = refused(VAE(prior(), likelihood()), guide, images)
    assert "event shape ()" in message


@pytest.mark.parametrize(
    ("q", "named"),
    [
        (dist.Gamma(2.0, 2.0), "positive"),
        (dist.LogNormal(0.0, 1.0), "positive"),
        (dist.Beta(2.0, 2.0), "Interval"),
        (dist.Bernoulli(0.5), "Boolean"),
        (dist.HalfNormal(1.0), "positive"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_other_supports(q, named, images):
    message = refused(written_model(("z", dist.Normal(0.0, 1.0))), written_guide(("z", q)), images)
    assert "'z' has support" in message
    assert named.lower() in message.lower()
    assert "real in the model" in message


def test_another_order_where_the_closed_form_needs_one(images):
    gamma, normal = ("precision", dist.Gamma(2.0, 2.0)), ("z", dist.Normal(0.0, 1.0))
    model, guide = written_model(gamma, normal), written_guide(normal, gamma)
    message = refused(model, guide, images, MEAN_FIELD)
    assert "'z', 'precision'" in message
    assert "'precision', 'z'" in message
    assert "estimator='trace'" in message
    check_pair(model, guide, images, TRACE)
    check_pair(model, guide, images)


@pytest.mark.parametrize(
    ("q", "p"),
    [(dist.StudentT(4.0), dist.Normal(0.0, 1.0)), (dist.LogNormal(0.0, 1.0), dist.Gamma(1.0, 1.0))],
    ids=["student", "log-normal"],
)
def test_no_closed_form(q, p, images):
    model, guide = written_model(("z", p)), written_guide(("z", q))
    message = refused(model, guide, images, MEAN_FIELD)
    assert "closed-form KL at site 'z'" in message
    assert type(q).__name__ in message
    assert type(p).__name__ in message
    assert "estimator='trace'" in message
    check_pair(model, guide, images, TRACE)


def test_bernoulli_on_grey_pixels(images):
    model = VAE(prior(), BernoulliLikelihood(MLPDecoder(LATENTS, SHAPE, hidden=[8])))
    message = refused(model, MeanFieldNormal(encoder(), LATENTS), images)
    assert "'x'" in message
    assert "Bernoulli" in message


def test_a_model_that_observes_other_shapes(images):
    """A decoder for other images than the encoder's."""
    model = VAE(prior(), NormalLikelihood(MLPDecoder(LATENTS, (1, 4, 4), hidden=[8])))
    message = refused(model, MeanFieldNormal(encoder(), LATENTS), images)
    assert "(1, 4, 4)" in message


def test_a_written_model_that_observes_other_shapes(images):
    def model(images):
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1), infer=INFER)
            pyro.sample("x", dist.Normal(torch.zeros(1, 4, 4), 1.0).to_event(3), obs=images)

    refused(model, written_guide(("z", dist.Normal(0.0, 1.0))), images)


def test_a_model_that_observes_nothing(images):
    message = refused(written_guide(("z", dist.Normal(0.0, 1.0))), written_guide(("z", dist.Normal(0.0, 1.0))), images)
    assert "obs" in message


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda x: x.masked_fill(x > 0.9, float("nan")), "NaN"),
        (lambda x: x / 0, "4 of 4 images"),
        (lambda x: x[:0], "no images"),
        (lambda x: x[0], "(1, 8, 8)"),
        (lambda x: x[:, :, :4], "(1, 4, 8)"),
    ],
    ids=["NaN", "infinite", "none", "one image", "other size"],
)
def test_images_that_do_not_fit(spoil, expected, images):
    message = refused(VAE(prior(), likelihood()), MeanFieldNormal(encoder(), LATENTS), spoil(images))
    assert expected in message
    with pytest.raises(UserError):
        check_images(spoil(images), encoder())


def test_prior_and_decoder_of_different_size():
    with pytest.raises(UserError, match=r"prior has 4 latents but the decoder takes 3") as caught:
        VAE(NormalPrior(4), likelihood())
    assert "\n" not in str(caught.value)


# Nothing changes


class Normalised(MLPEncoder):
    """With running statistics and dropout: what an unwary check would change."""

    def __init__(self) -> None:
        super().__init__(SHAPE, hidden=[8])
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(self.norm(super().forward(images)))


@pytest.mark.parametrize("wrong", [False, True], ids=["legal", "illegal"])
def test_the_check_changes_nothing(wrong, images):
    model, guide = VAE(prior("ng" if wrong else "normal"), likelihood()), MeanFieldNormal(Normalised(), LATENTS)
    model.train()
    guide.train().encoder.dropout.eval()  # modes of its own for each part
    before = {k: v.clone() for part in (model, guide) for k, v in part.state_dict().items()}
    modes = [module.training for part in (model, guide) for module in part.modules()]
    torch.manual_seed(3)
    state, settings = torch.get_rng_state(), pyro.settings.get()
    if wrong:
        refused(model, guide, images)
    else:
        check_pair(model, guide, images, MEAN_FIELD)
    assert torch.equal(torch.get_rng_state(), state)
    assert pyro.settings.get() == settings
    assert not pyro.get_param_store().keys()
    assert [module.training for part in (model, guide) for module in part.modules()] == modes
    after = {k: v for part in (model, guide) for k, v in part.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name in after)
    assert all(p.grad is None for part in (model, guide) for p in part.parameters())


def test_the_check_leaves_the_parameter_store_of_plain_functions(images):
    def guide(images):
        loc = pyro.param("loc", torch.zeros(LATENTS))
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1), infer=INFER)

    model = written_model(("z", dist.Normal(0.0, 1.0)))
    check_pair(model, guide, images)
    left = list(pyro.get_param_store().keys())
    pyro.clear_param_store()
    assert not left


def test_a_programs_parameters_stay_out_of_the_store(images):
    class Own(Program):
        def __init__(self) -> None:
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(LATENTS))

        def forward(self, images):
            with pyro.plate("image", len(images), dim=-1):
                return pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1), infer=INFER)

    check_pair(VAE(prior(), likelihood()), Own(), images, MEAN_FIELD)
    assert not pyro.get_param_store().keys()


def test_one_name_for_dims_of_two_sizes_is_refused(images):
    """They would share an axis of the DataTree and of the history."""

    def program(images, observed=None):
        with pyro.plate("image", len(images), dim=-1):
            for name, size in (("first", 4), ("second", 5)):
                pyro.sample(name, dist.Normal(torch.zeros(size), 1.0).to_event(1), infer=INFER)
            if observed is not None:
                pyro.sample("x", dist.Normal(torch.zeros(SHAPE), 1.0).to_event(3), obs=observed)

    message = refused(lambda images: program(images, images), program, images)
    assert "'latent' has 4 entries at site 'first' and 5 at site 'second'" in message
