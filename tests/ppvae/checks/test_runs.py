"""What Pyro's SVI refuses, ``check_pair`` refuses: in evaluation and in training mode, in one line of any size."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, Program, UserError, check_pair, fit, from_pyro_svi, log_marginal
from ppvae.datasets import sprites
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

SHAPE = (1, 8, 8)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, *SHAPE)


def refused(call: Callable, *args, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 400, len(line)
    return line


def model(images):
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None] + 0 * images, 1.0).to_event(3), obs=images)


def guide(images):
    with pyro.plate("image", len(images), dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))


def no_plate(images):
    pyro.sample("z", dist.Normal(torch.zeros(len(images), 3), 1.0).to_event(1))


def no_plate_of_the_model(images):
    z = pyro.sample("z", dist.Normal(torch.zeros(len(images), 3), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None] + 0 * images, 1.0).to_event(3), obs=images)


def pixels_in_the_batch(images):
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None] + 0 * images, 1.0), obs=images)


def plate_of_another_size(images):
    with pyro.plate("image", 2 * len(images), dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))


def parameters_of_another_size(images):
    with pyro.plate("image", len(images), dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(len(images) + 1, 3), 1.0).to_event(1))


def negative_scale(images):
    with pyro.plate("image", len(images), dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(len(images), 3), -torch.ones(len(images), 3)).to_event(1))


def broadcast_observations(images):
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None], 1.0).to_event(3), obs=images)


def factor_without_its_kind(images):
    guide(images)
    pyro.factor("penalty", torch.zeros(()))


def two_plates_at_one_dim(images):
    with pyro.plate("image", len(images), dim=-1), pyro.plate("other", len(images), dim=-1):
        pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))


def another_shape_of_the_network(images):
    with pyro.plate("image", len(images), dim=-1):
        pyro.sample("z", dist.Normal(images.flatten(1) @ torch.zeros(7, 3), 1.0).to_event(1))


REFUSED = {
    "no plate": (model, no_plate),
    "no plate of either": (no_plate_of_the_model, no_plate),
    "pixels in the batch": (pixels_in_the_batch, guide),
    "plate of another size": (model, plate_of_another_size),
    "parameters of another size": (model, parameters_of_another_size),
    "negative scale": (model, negative_scale),
    "factor": (model, factor_without_its_kind),
    "two plates": (model, two_plates_at_one_dim),
    "matrix": (model, another_shape_of_the_network),
}


@pytest.mark.parametrize("count", [6, 2000])  # as tensors are printed whole up to a thousand entries
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_svi_refuses(name, count):
    images = torch.rand(count, *SHAPE)
    with pyro.validation_enabled(True), pytest.raises((ValueError, RuntimeError)):
        SVI(*REFUSED[name], pyro.optim.Adam({"lr": 0.1}), Trace_ELBO()).step(images)
    refused(check_pair, *REFUSED[name], images)


def test_broadcast_observations(images):
    """Pyro scores one distribution at all pixels without a word."""
    assert "observes values of shape (6, 1, 8, 8)" in refused(check_pair, broadcast_observations, guide, images)


class Unsound(nn.Module):
    """Good in one mode, and in the other a scale that is none."""

    def __init__(self, *, training: bool) -> None:
        super().__init__()
        self.bad = training

    def forward(self, z):
        scale = torch.full_like(z[..., :1], -1.0 if self.training == self.bad else 1.0)[..., None, None]
        return dist.Normal(torch.zeros(*z.shape[:-1], *SHAPE), scale.expand(*z.shape[:-1], *SHAPE)).to_event(3)


@pytest.mark.parametrize(("training", "mode"), [(True, "training"), (False, "evaluation")])
def test_both_modes_are_tried(training, mode, images):
    pair = VAE(NormalPrior(3), Unsound(training=training)), MeanFieldNormal(MLPEncoder(SHAPE, (8,)), 3)
    line = refused(check_pair, *pair, images)
    assert line.startswith(f"Pyro refuses the pair in {mode} mode")
    assert "scale" in line
    if training:  # of one image no statistics can be had, and nothing is asked of the mode
        check_pair(*pair, images[:1])


class Changing(MLPEncoder):
    """All that a run in training mode changes."""

    def __init__(self) -> None:
        super().__init__(SHAPE, hidden=[8])
        self.norm, self.dropout = nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(()))
        self.runs, self.last = 0, None

    def forward(self, images):
        if self.training:
            self.runs, self.last = self.runs + 1, images
            self.seen = self.seen + len(images)
        return self.dropout(self.norm(super().forward(images)))


@pytest.mark.parametrize("plain", [False, True], ids=["modules", "behind a function"])
def test_the_check_leaves_modules_as_they_were(plain, images):
    guide, vae = MeanFieldNormal(Changing(), 3), VAE(NormalPrior(3), NormalLikelihood(MLPDecoder(3, SHAPE, (8,))))
    guide.train().encoder.dropout.eval()
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    owners = [buffer for _, buffer in guide.named_buffers()]
    modes, state = [part.training for part in guide.modules()], torch.get_rng_state()
    check_pair(vae, (lambda x: guide(x)) if plain else guide, images)
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
    assert all(now is then for (_, now), then in zip(guide.named_buffers(), owners, strict=True))
    assert [part.training for part in guide.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert (guide.encoder.runs, guide.encoder.last) == (0, None)
    assert all(parameter.grad is None for parameter in guide.parameters())


def under_a_mask(program, mask):
    def masked(images):
        with poutine.mask(mask=mask):
            program(images)

    return masked


def test_a_latent_masked_in_one_program_alone(images):
    seen = torch.arange(6) < 4
    for first, second in ((seen, None), (None, seen), (seen, ~seen), (False, None)):
        pair = [
            program if mask is None else under_a_mask(program, mask)
            for program, mask in ((model, first), (guide, second))
        ]
        for call in (check_pair, log_marginal, from_pyro_svi):
            assert "'z' has one mask in the guide and another in the model" in refused(call, *pair, images)
    check_pair(under_a_mask(model, seen), under_a_mask(guide, seen), images)
    check_pair(under_a_mask(model, True), guide, images)


def pair_of(likelihood):
    return VAE(NormalPrior(3), likelihood), MeanFieldNormal(MLPEncoder(SHAPE, (8,)), 3)


def bernoulli(*, surrogate=False):
    return pair_of(BernoulliLikelihood(MLPDecoder(3, SHAPE, (8,)), surrogate=surrogate))


@pytest.mark.parametrize("call", [check_pair, log_marginal, from_pyro_svi], ids=["check", "log_marginal", "export"])
def test_grey_pixels_under_a_bernoulli_are_refused_by_all(call, images):
    images[:3] = images[:3].round()  # the first ones are binary
    assert "outside the support of Bernoulli" in refused(call, *bernoulli(), images)
    call(*bernoulli(surrogate=True), images)
    call(*bernoulli(), images.round())


def test_grey_data_sets_under_a_bernoulli_are_refused_by_all():
    data = sprites(size=16, image_size=32, seed=0)
    decoder, encoder = MLPDecoder(3, data.image_shape, (8,)), MLPEncoder(data.image_shape, (8,))
    for call in (check_pair, log_marginal, from_pyro_svi, fit):
        assert "BernoulliLikelihood is a density of binary pixels" in refused(
            call, VAE(NormalPrior(3), BernoulliLikelihood(decoder)), MeanFieldNormal(encoder, 3), data
        )


@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (255.0, 0.0), (2.0, -1.0), (1.0, 0.8)])
def test_pixels_that_no_mean_comes_near(scale, shift, images):
    pair = pair_of(NormalLikelihood(MLPDecoder(3, SHAPE, (8,))))
    far = images.clone()
    far[-1], far[-1, 0, 0, :2] = scale * far[-1] + shift, scale * torch.tensor([0.0, 1.0]) + shift  # one image of all
    for call in (check_pair, log_marginal, from_pyro_svi, fit):
        line = refused(call, *pair, far)
        assert f"pixels are in [{far.min():.4g}, {far.max():.4g}], the likelihood's means in [0, 1]" in line
    check_pair(*pair, images + 0.2 * torch.randn_like(images).clamp(-2, 2))  # noise about an image


class Shared(MeanFieldNormal):
    """With one latent of all images."""

    def forward(self, images):
        pyro.sample("theta", dist.Normal(0.0, 1.0))
        return super().forward(images)


def test_a_latent_of_all_images_is_none_of_each(images):
    """A global latent passes; a site that holds every image's code in its event dims is taken for none, by fit."""

    class Model(Program):
        def __init__(self) -> None:
            super().__init__()
            self.likelihood = NormalLikelihood(MLPDecoder(3, SHAPE, (8,)))

        def forward(self, x):
            pyro.sample("theta", dist.Normal(0.0, 1.0))
            with pyro.plate("image", len(x)):
                z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
                pyro.sample("x", self.likelihood(z), obs=x)

    check_pair(Model(), Shared(MLPEncoder(SHAPE, (8,)), 3), images, BetaELBO())

    def whole(x):
        return pyro.sample("z", dist.Normal(torch.zeros(len(x), 3), 1.0).to_event(2))

    def observing(x):
        z = whole(x)
        with pyro.plate("image", len(x)):
            pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None] + 0 * x, 1.0).to_event(3), obs=x)

    check_pair(observing, whole, images)  # Pyro's own objectives take it
    assert "site 'z' of the guide has batch shape ()" in refused(check_pair, observing, whole, images, BetaELBO())
