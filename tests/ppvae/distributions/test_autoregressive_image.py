"""The distribution over images in raster order: it sums to one, and every way to draw from it gives the same images."""

import itertools

import pytest
import torch
from pyro import distributions as dist
from torch.distributions import kl_divergence

from ppvae.distributions import OUTPUTS, AutoregressiveImage, pixel_output
from ppvae.distributions.eight_bit import LEVELS
from ppvae.errors import UserError
from ppvae.networks.causal import CAUSAL_NETWORKS

WINDOWS = [None, (0, 1), (0, 3), (2, 1), (2, 3), (4, 3)]
NETWORKS = [*(("gated", window) for window in WINDOWS), ("attention", None)]


def image_distribution(
    shape: tuple[int, int, int] = (1, 4, 4),
    output: str = "bernoulli",
    *,
    batch: tuple[int, ...] = (3,),
    causal: str = "gated",
    **options: object,
) -> AutoregressiveImage:
    torch.manual_seed(0)
    network = CAUSAL_NETWORKS[causal](shape, 2, **{"layers": 3, "channels": 8, **options})
    head = pixel_output(output, network.features, shape[0], components=3)
    for parameter in [*network.parameters(), *head.parameters()]:
        parameter.data *= 2  # far from independence
    return AutoregressiveImage(network.double(), head.double(), torch.randn(*batch, 2, *shape[1:]).double())


@pytest.mark.parametrize(("causal", "window"), [("gated", None), ("gated", (1, 3)), ("attention", None)], ids=str)
def test_probabilities_of_all_binary_images_sum_to_one(causal, window):
    distribution = image_distribution((1, 3, 3), batch=(2,), causal=causal, window=window)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9))).double().reshape(512, 1, 1, 3, 3)
    assert torch.allclose(distribution.log_prob(images).logsumexp(0), torch.zeros(2).double(), atol=1e-12)


def test_probabilities_of_all_binary_colour_images_sum_to_one():
    """Two channels: the second of a pixel depends on the first."""
    distribution = image_distribution((2, 2, 2), batch=(2,), layers=2)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8))).double().reshape(256, 1, 2, 2, 2)
    assert torch.allclose(distribution.log_prob(images).logsumexp(0), torch.zeros(2).double(), atol=1e-12)


@pytest.mark.parametrize("output", ["categorical", "logistic_mixture"])
def test_each_channels_levels_sum_to_one_given_the_channels_before(output):
    """p(x_c | earlier channels) over 256 levels, with the later channels summed out as well, in their order."""
    distribution = image_distribution((2, 1, 1), output, batch=(1,), layers=1)
    levels = torch.arange(LEVELS).double() / (LEVELS - 1)
    pairs = torch.stack(torch.meshgrid(levels, levels, indexing="ij"), -1).reshape(-1, 1, 2, 1, 1)
    log_p = distribution.log_prob(pairs).reshape(LEVELS, LEVELS)
    assert log_p.logsumexp((0, 1)).item() == pytest.approx(0, abs=1e-9)
    first = log_p.logsumexp(1)
    dependent = (log_p - first[:, None]).exp()
    assert torch.allclose(dependent.sum(1), torch.ones(LEVELS).double(), atol=1e-9)
    assert (dependent[0] - dependent[-1]).abs().sum() > 1e-3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("causal", CAUSAL_NETWORKS)
def test_no_conditional_depends_on_what_comes_after(causal, output, channels):
    """∂ log p(x_i | ·) / ∂ x_j = 0 for j after i, pixel and channel: by the derivative in the conditioning value."""
    distribution = image_distribution((channels, 3, 3), output, batch=(1,), causal=causal, layers=2)
    value = distribution.sample()

    def scores(condition: torch.Tensor) -> torch.Tensor:
        given = distribution.given(condition)
        if output == "normal":
            return given.base_dist.loc.flatten() + given.base_dist.scale.flatten()
        if output == "bernoulli":
            return given.base_dist.logits[0].movedim(0, -1).flatten()
        if output == "categorical":
            return given.logits[0, 100].movedim(0, -1).flatten()
        return given.logits[0, 0].repeat_interleave(channels)

    if output == "normal":
        order = torch.arange(9).repeat(channels)
        seen = torch.autograd.functional.jacobian(scores, value)[:, 0].abs().sum(1).flatten(1)
        assert not seen[order[:, None] <= torch.arange(9)].any()
        return
    jacobian = torch.autograd.functional.jacobian(scores, value)[:, 0].movedim(1, -1).flatten(1)
    after = torch.ones_like(jacobian).triu().bool()  # raster order, channels within a pixel
    assert not jacobian[after].any()
    assert jacobian[~after].any()


@pytest.mark.parametrize(("causal", "window"), NETWORKS, ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_equal_noise_makes_equal_images_whatever_the_way(output, causal, window):
    distribution = image_distribution((3, 4, 4), output, causal=causal, window=window)
    noise = distribution.noise((2,))
    images = distribution.sample((2,), noise=noise)
    assert images.shape == (2, 3, 3, 4, 4)
    for options in ({"way": "naive"}, {"way": "fixed_point"}, {"way": "cached", "at_once": 4}, {"way": "cached"}):
        assert torch.allclose(distribution.sample((2,), noise=noise, **options), images, atol=1e-9), options


@pytest.mark.parametrize("causal", CAUSAL_NETWORKS)
def test_a_tied_and_grey_network_is_cached_as_well(causal):
    distribution = image_distribution((3, 5, 5), "logistic_mixture", causal=causal, grey=True, tied=True)
    noise = distribution.noise()
    assert torch.equal(distribution.sample(noise=noise), distribution.sample(noise=noise, way="naive"))


def test_draws_have_the_probabilities_that_scoring_gives():
    """2×2 binary images, 16 of them: observed counts against N·p by χ², 99.9 % point of 15 degrees of freedom."""
    distribution = image_distribution((1, 2, 2), batch=(), layers=2)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().reshape(16, 1, 2, 2)
    torch.manual_seed(3)
    drawn = distribution.sample((20_000,)).flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()
    counts = torch.bincount(drawn.long(), minlength=16)
    wanted = 20_000 * distribution.log_prob(images).exp()
    assert ((counts - wanted).square() / wanted).sum() < 37.7


@pytest.mark.parametrize("output", ["categorical", "logistic_mixture"])
def test_draws_of_a_pixel_have_its_levels_probabilities(output):
    """One pixel: the share of draws at or below each level against its probability, 4.9 standard errors at most
    (Kolmogorov–Smirnov, p < 1e-9 with 40 000 draws: 1.63 at 1 %)."""
    distribution = image_distribution((1, 1, 1), output, batch=(), layers=1)
    levels = torch.arange(LEVELS).double() / (LEVELS - 1)
    probability = distribution.log_prob(levels.reshape(-1, 1, 1, 1)).exp()
    torch.manual_seed(4)
    drawn = (distribution.sample((40_000,)).flatten() * (LEVELS - 1)).round().long()
    share = torch.bincount(drawn, minlength=LEVELS).cumsum(0) / 40_000
    assert (share - probability.cumsum(0)).abs().max() * 200 < 1.95  # 0.1 %


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_conditionals_score_what_they_are_of(output):
    distribution = image_distribution((3, 3, 3), output, batch=(2, 3))
    value = distribution.sample()
    assert torch.allclose(distribution.given(value).log_prob(value), distribution.log_prob(value))
    by_pixel = distribution.log_prob_by_pixel(value)
    assert by_pixel.shape == (2, 3, 3, 3)
    assert torch.allclose(by_pixel.sum((-2, -1)), distribution.log_prob(value))


def test_a_value_broadcasts_against_the_context():
    distribution = image_distribution(batch=(2, 3))
    value = (torch.rand(3, 1, 4, 4) < 0.5).double()
    expected = torch.stack([distribution.log_prob(value.expand(2, 3, 1, 4, 4))[row] for row in range(2)])
    assert torch.allclose(distribution.log_prob(value), expected)
    wide = image_distribution(batch=(3,)).expand((5, 3))
    assert wide.batch_shape == (5, 3)
    assert wide.sample().shape == (5, 3, 1, 4, 4)


@pytest.mark.parametrize("way", ["cached", "fixed_point", "naive"])
@pytest.mark.parametrize("pixels", [0, 3, 6, 16])
@pytest.mark.parametrize("causal", CAUSAL_NETWORKS)
def test_a_prefix_is_kept_and_the_rest_is_exact(causal, way, pixels):
    distribution = image_distribution(batch=(), causal=causal)
    torch.manual_seed(5)
    image = distribution.sample()
    rest = distribution.given_prefix(image, pixels)
    noise = rest.noise((4,))
    drawn = rest.sample((4,), noise=noise, way=way)
    assert torch.equal(drawn.flatten(1)[:, :pixels], image.flatten().expand(4, 16)[:, :pixels])
    by_pixel = distribution.log_prob_by_pixel(drawn).flatten(1)
    assert torch.allclose(rest.log_prob(drawn), by_pixel[:, pixels:].sum(1))
    assert torch.equal(drawn, rest.sample((4,), noise=noise, way="naive"))
    if pixels:
        other = image.clone()
        other[0, 0, 0] = 1 - other[0, 0, 0]
        assert rest.log_prob(other) == -torch.inf


def test_probabilities_given_a_prefix_sum_to_one():
    distribution = image_distribution((1, 2, 2), batch=(), layers=2)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double().reshape(16, 1, 2, 2)
    rest = distribution.given_prefix(images[5], 2)
    assert rest.log_prob(images).logsumexp(0).item() == pytest.approx(0, abs=1e-12)


def test_there_is_no_mean_but_one_of_a_step():
    distribution = image_distribution()
    with pytest.raises(NotImplementedError):
        _ = distribution.mean
    value = distribution.sample()
    assert torch.equal(distribution.one_step_mean(value), distribution.given(value).mean)


def test_the_kl_given_the_past_is_unbiased_and_quieter():
    """E_q Σ_i KL(q_i ‖ p(· | z_<i)) = E_q log q − log p: 4 standard errors of the paired difference over 4 000 draws;
    the closed form has the smaller variance."""
    p = image_distribution((2, 3, 3), "normal", batch=())
    torch.manual_seed(6)
    q = dist.Normal(torch.randn(2, 3, 3).double(), torch.rand(2, 3, 3).double() + 0.3)
    z = q.sample((4000,))
    closed = kl_divergence(q.expand((4000, 2, 3, 3)), p.given(z).base_dist).sum((1, 2, 3))
    sampled = q.log_prob(z).sum((1, 2, 3)) - p.log_prob(z)
    difference = closed - sampled
    assert difference.mean().abs() < 4 * difference.std() / 4000**0.5
    assert closed.std() < 0.5 * sampled.std()


def test_hiding_pixels_weakens_the_density_and_draws_nothing_else():
    distribution = image_distribution(window=(0, 1))
    value = distribution.sample()
    hidden = AutoregressiveImage(distribution.network, distribution.output, distribution.context, dropout=0.5)
    assert torch.allclose(hidden.log_prob(value), distribution.log_prob(value))  # nothing was seen anyway
    distribution = image_distribution()
    hidden = AutoregressiveImage(distribution.network, distribution.output, distribution.context, dropout=0.5)
    assert not torch.allclose(hidden.log_prob(value), distribution.log_prob(value))
    assert torch.equal(hidden.given(value).base_dist.logits, distribution.given(value).base_dist.logits)


def test_what_does_not_fit_is_one_line():
    distribution = image_distribution()
    with pytest.raises(UserError, match=r"^images are \(1, 5, 4\); the network is of images \(1, 4, 4\): give these$"):
        distribution.log_prob(torch.zeros(3, 1, 5, 4).double())
    with pytest.raises(UserError, match=r"^noise are \(2, 4, 4\); the network is of noise \(1, 4, 4\): give these$"):
        distribution.sample(noise=torch.rand(3, 2, 4, 4).double())
    with pytest.raises(UserError, match=r"^way='quick': expected one of cached, fixed_point, naive$"):
        distribution.sample(way="quick")
    plain = torch.nn.Identity()
    plain.image_shape = (1, 4, 4)
    with pytest.raises(UserError, match=r"^way='cached': Identity keeps nothing; use fixed_point$"):
        AutoregressiveImage(plain, distribution.output, distribution.context).sample(way="cached")
    with pytest.raises(UserError, match=r"^pixels=17: the images have 16; give at most these$"):
        distribution.given_prefix(torch.zeros(1, 4, 4).double(), 17)
    with pytest.raises(UserError, match=r"^output='poisson': expected one of bernoulli, categorical, logistic_mixture"):
        pixel_output("poisson", 8, 1)
