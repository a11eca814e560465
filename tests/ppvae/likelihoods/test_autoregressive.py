"""Autoregressive decoders: at a window of nothing the factorised likelihood, and what each window leaves to z."""

import itertools
import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, BetaELBO, FreeBits, Objective, UserError, fit
from ppvae.datasets import ImageDataset
from ppvae.likelihoods import AutoregressiveLikelihood, BernoulliLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.program import Program
from ppvae.pair.terms import ESTIMATORS
from ppvae.priors import NormalPrior
from ppvae.svi import Recipe

SHAPE = (1, 4, 4)
LENGTH, TURNS = 8, (0.9, 0.15)  # of the toy's sequences, and the probability that the next pixel differs, by the bit


def build(shape: tuple[int, int, int] = SHAPE, **options: object) -> AutoregressiveLikelihood:
    torch.manual_seed(0)
    options = {"layers": 3, "channels": 6, "context": 4, **options}
    return AutoregressiveLikelihood(MLPDecoder(2, shape, (8,), maps=4), **options)


class Composed(nn.Module):
    """The decoder, and what a network that sees no pixel makes of its maps."""

    image_shape, latents = SHAPE, 2

    def __init__(self, likelihood: AutoregressiveLikelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.likelihood(z).given(torch.zeros(*z.shape[:-1], *SHAPE)).base_dist.logits


def test_a_window_of_nothing_is_the_factorised_likelihood():
    likelihood = build(window=(0, 1))
    factorised = BernoulliLikelihood(Composed(likelihood))
    z, images = torch.randn(5, 2), torch.rand(5, *SHAPE).round()
    assert torch.equal(likelihood(z).log_prob(images), factorised(z).log_prob(images))
    other = build(window=(0, 3))
    assert not torch.equal(other(z).log_prob(images), BernoulliLikelihood(Composed(other))(z).log_prob(images))


def test_pixels_are_hidden_in_training_alone():
    likelihood = build(dropout=0.5)
    z, images = torch.randn(5, 2), torch.rand(5, *SHAPE).round()
    trained = [likelihood(z).log_prob(images) for _ in range(2)]
    assert not torch.equal(*trained)
    likelihood.eval()
    assert torch.equal(likelihood(z).log_prob(images), build()(z).log_prob(images))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": (2, 4)}, r"^window=\[2, 4\]: expected \(height, width\): a height of 0 to 4 rows above, an odd"),
        ({"output": "beta"}, r"^output='beta': expected one of bernoulli, categorical, logistic_mixture, normal$"),
        ({"causal": "masked"}, r"^causal='masked': expected one of gated"),
        ({"dropout": 1.0}, r"^dropout=1\.0: expected a share of pixels from 0 to below 1$"),
        ({"grey": True}, r"^grey=True: images have 1 channels; expected red, green and blue$"),
        ({"context": 5}, r"^the decoder gives 4 maps; .*needs 5: build the decoder with maps=5$"),
        ({"context": 0}, r"^context=0: expected a whole number of at least 1$"),
        ({"layers": 0}, r"^layers=0: expected a whole number of at least 1$"),
        ({"layers": 1}, r"^layers=1: the full past of this image needs at least 2; give these or a window$"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_one_line(options, said):
    with pytest.raises(UserError, match=said) as raised:
        build(**options)
    assert "\n" not in str(raised.value)


def test_a_decoder_of_no_images_is_refused():
    with pytest.raises(UserError, match=r"^decoder Identity has no image_shape; set it to \(channels, rows, columns\)"):
        AutoregressiveLikelihood(nn.Identity())


def sequences(count: int, seed: int) -> torch.Tensor:
    """One bit says whether a pixel most likely repeats that before it or differs; the first is a coin."""
    generator = torch.Generator().manual_seed(seed)
    bit = torch.rand(count, 1, generator=generator) < 0.5
    turns = torch.rand(count, LENGTH - 1, generator=generator) < torch.where(bit, *TURNS)
    first = torch.rand(count, 1, generator=generator) < 0.5
    return (torch.cat([first, turns], 1).cumsum(1) % 2).float().reshape(count, 1, 1, LENGTH)


def entropy() -> tuple[float, float]:
    """Of the sequences, and their mutual information with the bit, by enumeration; nats."""
    total = total_given = 0.0
    for turns in itertools.product([0, 1], repeat=LENGTH - 1):
        count = sum(turns)
        given = [0.5 * p**count * (1 - p) ** (LENGTH - 1 - count) for p in TURNS]
        mean = sum(given) / 2
        total -= 2 * mean * math.log(mean)  # two first pixels
        total_given -= sum(p * math.log(p) for p in given)
    return total, total - total_given


class BitDecoder(nn.Module):
    """Maps that say a bit everywhere."""

    image_shape = (1, 1, LENGTH)

    def __init__(self) -> None:
        super().__init__()
        self.said = nn.Linear(1, 8)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.said(z)[..., None, None].expand(*z.shape[:-1], 8, 1, LENGTH)


class Bit(Program):
    """p(z) p(x | z) of one bit, a fair coin."""

    def __init__(self, likelihood: AutoregressiveLikelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(0.5))
            pyro.sample("x", self.likelihood(z[..., None]), obs=images)


class BitGuide(Program):
    """q(z | x), summed out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(MLPEncoder((1, 1, LENGTH), (64,)), nn.Linear(64, 1))

    def forward(self, images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            logits = self.encoder(images)[..., 0]
            pyro.sample("z", dist.Bernoulli(logits=logits), infer={"enumerate": "parallel"})


def sees(window: tuple[int, int] | None, decoder: nn.Module) -> AutoregressiveLikelihood:
    return AutoregressiveLikelihood(decoder, window=window, layers=4, channels=16, context=8)


def normal_pair() -> tuple[Program, Program]:
    """A decoder of the full past, and a code of one normal latent."""
    shape = (1, 1, LENGTH)
    model = VAE(NormalPrior(1), sees(None, MLPDecoder(1, shape, (32,), maps=8)))
    return model, MeanFieldNormal(MLPEncoder(shape, (64, 64)), 1)


def trained(make: Callable[[], tuple[Program, Program]], objective: Objective, epochs: int = 8) -> tuple[float, float]:
    """Rate and negative bound of fresh sequences."""
    torch.manual_seed(1)
    model, guide = make()
    data, recipe = ImageDataset(sequences(6400, seed=0)), Recipe(learning_rate=0.01, schedule="cosine")
    fit(
        model, guide, data, objective, recipe=recipe, epochs=epochs, batch_size=64, progress=False, execution="captured"
    )
    with torch.no_grad():
        terms = ESTIMATORS["auto"](model.eval(), guide.eval(), (sequences(20_000, seed=1),))
    return terms.rate.mean().item(), (terms.rate + terms.distortion).mean().item()


@pytest.mark.long
def test_a_window_of_one_pixel_leaves_the_global_bit_to_z():
    """The toy of one global bit and local copying: a decoder that sees the pixel before needs the bit, and that alone.

    The negative bound is at least the entropy, within the sampling error of 20 000 sequences (deviation about one nat,
    so 0.007; four of them). A bit that costs its mutual information with the sequence, below ln 2, brings it there.
    """
    whole, bit = entropy()
    assert 0.6 < bit < math.log(2)
    rate, negative_bound = trained(lambda: (Bit(sees((0, 3), BitDecoder())), BitGuide()), BetaELBO(), epochs=6)
    assert rate == pytest.approx(bit, abs=0.03)
    assert whole - 0.028 < negative_bound < whole + 0.05


@pytest.mark.long
def test_a_full_past_leaves_z_nothing():
    """What z says costs its imperfect posterior as well, so that the optimum of a decoder that needs no z is a rate of
    zero."""
    whole, _ = entropy()
    rate, negative_bound = trained(normal_pair, BetaELBO())
    assert rate < 0.01
    assert whole - 0.028 < negative_bound < whole + 0.08


@pytest.mark.long
def test_free_bits_keep_a_rate_that_a_full_past_would_not():
    """λ = 0.4 nats are free, and more than them is not worth it."""
    whole, _ = entropy()
    rate, negative_bound = trained(normal_pair, FreeBits(nats=0.4, group="site"))
    assert 0.38 < rate < 0.5
    assert whole - 0.028 < negative_bound < whole + 0.1
