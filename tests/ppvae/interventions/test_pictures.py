"""What stands for p(x | z): means where there are any, else draws whose noise all images share."""

import pyro.distributions as dist
import pytest
import torch

from ppvae.interventions import shown
from ppvae.likelihoods import (
    AutoregressiveLikelihood,
    BernoulliLikelihood,
    CategoricalLikelihood,
    DiscretisedLogisticLikelihood,
)

SHAPE = (2, 3, 5)


class Decoder(torch.nn.Module):
    """The first maps of z itself."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.maps, self.image_shape, self.latents = maps, (1, 3, 5), maps * 15

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.unflatten(-1, (self.maps, 3, 5))


@pytest.mark.parametrize(
    ("likelihood", "maps"), [(BernoulliLikelihood, 1), (CategoricalLikelihood, 256), (DiscretisedLogisticLikelihood, 2)]
)
def test_a_mean_is_shown_where_there_is_one(likelihood, maps):
    distribution = likelihood(Decoder(maps))(torch.randn(3, maps * 15))
    found = shown(distribution)
    assert not found.drawn
    assert torch.equal(found.images, distribution.mean)


def nameless(family: type) -> type:
    """The family without a mean."""

    def mean(self):
        raise NotImplementedError

    return type(family.__name__, (family,), {"mean": property(mean)})


def mixture(loc: torch.Tensor) -> dist.TorchDistribution:
    parts = dist.Normal(torch.stack([loc, loc + 3], -1), 0.1)
    return nameless(dist.MixtureSameFamily)(dist.Categorical(torch.ones(2).expand(*loc.shape, 2)), parts)


class PixelByPixel(dist.TorchDistribution):
    """Each pixel a normal about the one before it, drawn in turn."""

    arg_constraints = {}  # noqa: RUF012 - torch's own convention

    def __init__(self, loc: torch.Tensor) -> None:
        self.loc = loc
        super().__init__(loc.shape[:-3], loc.shape[-3:], validate_args=False)

    def sample(self, sample_shape=()):
        assert sample_shape == ()
        pixels = [torch.zeros(len(self.loc))]
        for loc in self.loc.flatten(1).unbind(1):
            pixels.append(torch.normal(pixels[-1] / 2 + loc, 1.0))
        return torch.stack(pixels[1:], -1).reshape(self.loc.shape)


FAMILIES = {
    "normal": lambda loc: nameless(dist.Normal)(loc, 1.0),
    "uniform": lambda loc: nameless(dist.Uniform)(loc, loc + 1),
    "bernoulli": lambda loc: nameless(dist.Bernoulli)(logits=loc),
    "gamma": lambda loc: nameless(dist.Gamma)(loc.exp(), 1.0),  # by rejection: as many numbers as it takes
    "poisson": lambda loc: nameless(dist.Poisson)(loc.exp()),
    "cauchy": lambda loc: dist.Cauchy(loc, 1.0),
    "categorical": lambda loc: dist.Categorical(logits=torch.stack([loc, -loc, loc / 2], -1)),
    "mixture": mixture,
}


@pytest.mark.parametrize("family", [*FAMILIES, "pixel by pixel"])
def test_draws_of_equal_latents_are_equal_and_those_of_others_are_as_if_alone(family):
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(4, *SHAPE, generator=generator)
    loc[2] = loc[0]

    def draw(loc: torch.Tensor) -> torch.Tensor:
        one = PixelByPixel(loc) if family == "pixel by pixel" else FAMILIES[family](loc).to_event(3)
        found = shown(one)
        assert found.drawn
        return found.images

    state = torch.get_rng_state()
    together = draw(loc)
    assert torch.equal(torch.get_rng_state(), state)
    assert together.shape == (4, *SHAPE)
    assert torch.equal(together[0], together[2])
    assert not torch.equal(together[0], together[1])
    for image in range(4):
        torch.testing.assert_close(draw(loc[image : image + 1])[0], together[image])
    assert len(together[0].unique()) > 1  # pixels have noise of their own


def test_the_noise_is_that_of_the_distribution():
    """One image of 40 000 normal pixels: mean and deviation within five standard errors."""
    found = shown(nameless(dist.Normal)(torch.full((3, 1, 200, 200), 2.0), 0.5).to_event(3)).images[1]
    assert abs(float(found.mean()) - 2) < 5 * 0.5 / 200
    assert abs(float(found.std()) - 0.5) < 5 * 0.5 / 200 / 2**0.5


def test_the_seed_chooses_the_noise():
    normal = nameless(dist.Normal)(torch.zeros(2, *SHAPE), 1.0).to_event(3)
    assert torch.equal(shown(normal, seed=1).images, shown(normal, seed=1).images)
    assert not torch.equal(shown(normal, seed=1).images, shown(normal, seed=2).images)


@pytest.mark.parametrize("causal", ["gated", "attention"])
def test_images_in_raster_order_share_their_noise(causal):
    """Equal contexts are drawn alike, and an image's draw is the same whatever is drawn beside it."""
    decoder = Decoder(4)
    likelihood = AutoregressiveLikelihood(decoder, causal=causal, layers=3, channels=8, context=4).eval()
    z = torch.randn(2, 60)
    found = shown(likelihood(z[[0, 1, 0]]))
    assert found.drawn
    assert torch.equal(found.images[0], found.images[2])
    assert torch.equal(shown(likelihood(z[1:])).images[0], found.images[1])


class Halves(PixelByPixel):
    """Drawn by an operation that gives two tensors, the values kept and a mask of them."""

    def sample(self, sample_shape=()):
        assert sample_shape == ()
        kept, mask = torch.native_dropout(self.loc, 0.5, True)
        return kept + mask.float()


def test_an_operation_that_gives_several_tensors_shares_its_noise():
    loc = torch.ones(3, 1, 8, 8)
    found = shown(Halves(loc))
    assert found.drawn
    assert torch.equal(found.images[0], found.images[1])
    assert 0 < (found.images == 3).float().mean() < 1  # kept and doubled, plus the mask
