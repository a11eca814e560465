"""Transformations: what they destroy is gone, what they keep is kept, and their draws are uniform, fresh and seeded."""

import itertools
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import chi2
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur, rgb_to_grayscale

from ppvae.distributions.eight_bit import eight_bit
from ppvae.errors import UserError
from ppvae.models.transformations import Blur, Compose, GreyScale, PatchShuffle, Quantise
from ppvae.svi.capture import capture

EVERY = [PatchShuffle(4), GreyScale(), Blur(0.7), Quantise(), Compose([PatchShuffle(2), GreyScale(), torch.neg])]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 8, 12, generator=torch.Generator().manual_seed(1))


def tiles(image: torch.Tensor, patch: int) -> list[bytes]:
    """Every tile of an image (C, H, W), as bytes, in its order."""
    _, rows, columns = image.shape
    corners = itertools.product(range(0, rows, patch), range(0, columns, patch))
    return [image[:, r : r + patch, c : c + patch].contiguous().numpy().tobytes() for r, c in corners]


def numbered(count: int, side: int) -> torch.Tensor:
    """Images (count, 1, side, side) whose pixels are their own numbers."""
    return torch.arange(side * side).view(1, 1, side, side).repeat(count, 1, 1, 1)


# Shuffled tiles


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_shuffling_moves_every_tile_and_breaks_none(images, patch):
    shuffled = PatchShuffle(patch)(images)
    for before, after in zip(images, shuffled, strict=True):
        assert sorted(tiles(after, patch)) == sorted(tiles(before, patch))
        assert tiles(after, patch) != tiles(before, patch)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_the_colours_of_an_image_stay_the_same(images, patch):
    def colours(batch: torch.Tensor) -> list[list[list[float]]]:
        return [sorted(image.flatten(1).T.tolist()) for image in batch]

    assert colours(PatchShuffle(patch)(images)) == colours(images)


def test_one_tile_stays_where_it_is(images):
    assert torch.equal(PatchShuffle(8)(images[..., :8]), images[..., :8])


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 3, 8, 8), (0, 3, 8, 8)])
def test_any_leading_dimensions(shape):
    batch = torch.rand(shape)
    shuffled = PatchShuffle(2)(batch)
    assert shuffled.shape == batch.shape
    for before, after in zip(batch.view(-1, 3, 8, 8), shuffled.view(-1, 3, 8, 8), strict=True):
        assert sorted(tiles(after, 2)) == sorted(tiles(before, 2))
        assert tiles(after, 2) != tiles(before, 2)


def test_bytes_are_shuffled_as_bytes():
    pixels = numbered(3, 4).to(torch.uint8)
    shuffled = PatchShuffle(1)(pixels)
    assert shuffled.dtype == torch.uint8
    assert all(sorted(image.flatten().tolist()) == list(range(16)) for image in shuffled)


@pytest.mark.parametrize("seed", range(5))
def test_all_24_orders_of_four_tiles_are_as_likely(seed):
    """Chi-square over 24 000 images of a batch; the chance of a false alarm is 1e-5 a seed, 5e-5 in all."""
    torch.manual_seed(seed)
    orders = PatchShuffle(1)(numbered(24_000, 2)).flatten(1)
    codes = orders @ torch.tensor([64, 16, 4, 1])
    counts = torch.bincount(codes.unique(return_inverse=True)[1])
    assert len(counts) == 24
    assert chi2.sf(((counts - 1000) ** 2 / 1000).sum().item(), 23) > 1e-5


def test_orders_of_neighbouring_images_and_calls_are_independent():
    """Two orders of four tiles agree with probability 1/24: within 5 standard errors (false alarm 6e-7 each)."""
    shuffle, batch = PatchShuffle(1), numbered(20_000, 2)
    first, second = shuffle(batch).flatten(1), shuffle(batch).flatten(1)
    error = (1 / 24 * 23 / 24 / 10_000) ** 0.5
    for one, other in ((first[::2], first[1::2]), (first[::2], second[::2])):
        agree = (one == other).all(1).float().mean().item()
        assert agree == pytest.approx(1 / 24, abs=5 * error)


def test_every_place_gets_every_pixel_equally_often():
    """1024 tiles of one pixel, where keys could tie: mean place of each pixel, within 5.5 standard errors (4e-5)."""
    count, pixels = 2000, 1024
    places = PatchShuffle(1)(numbered(count, 32)).flatten(1).double().mean(0)
    error = ((pixels**2 - 1) / 12 / count) ** 0.5
    assert (places - (pixels - 1) / 2).abs().max() < 5.5 * error


@pytest.mark.parametrize("transformation", EVERY, ids=repr)
def test_one_seed_gives_one_result(transformation, images):
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(transformation(images))
    assert torch.equal(results[0], results[1])
    shuffles = "PatchShuffle" in repr(transformation)
    assert torch.equal(results[0], results[2]) != shuffles


@pytest.mark.parametrize("transformation", EVERY, ids=repr)
def test_images_of_any_float_keep_shape_and_dtype_and_the_original_stays(transformation, images):
    for dtype in (torch.float32, torch.float64):
        batch = images.to(dtype)
        result = transformation(batch)
        assert (result.shape, result.dtype) == (batch.shape, dtype)
        assert torch.equal(batch, images.to(dtype))
        result.zero_()  # a tensor of its own, each element once
        assert torch.equal(batch, images.to(dtype))


# Grey, blur, levels


def test_grey_has_no_colour_and_is_torchvisions(images):
    grey = GreyScale()(images)
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])
    # torchvision's weights are rounded to four digits and sum to 0.9999
    torch.testing.assert_close(grey, rgb_to_grayscale(images, 3), rtol=0, atol=1.1e-4)


def test_primary_colours_have_the_weights_of_the_standard():
    primaries = torch.eye(3)[..., None, None]
    assert GreyScale()(primaries)[:, 0, 0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114], abs=1e-7)


def test_grey_stays_grey_to_the_bit(images):
    grey = GreyScale()(images)
    assert torch.equal(GreyScale()(grey), grey)
    assert torch.equal(GreyScale()(images[:, :1]), images[:, :1])


def test_luma_lies_between_the_channels():
    images = torch.cat([torch.rand(4, 3, 64, 64), 1 - torch.rand(4, 3, 64, 64) * 2**-22])
    grey = GreyScale()(images)
    assert (grey <= images.amax(1, keepdim=True)).all()
    assert (grey >= images.amin(1, keepdim=True)).all()


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.2])
def test_blur_is_torchvisions_with_the_same_kernel(sigma):
    images = torch.rand(2, 3, 16, 20, dtype=torch.float64)
    size = 2 * Blur(sigma).radius + 1
    expected = gaussian_blur(images, [size, size], [sigma, sigma])
    torch.testing.assert_close(Blur(sigma)(images), expected, rtol=0, atol=1e-6)  # our kernel is a float32


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.5])
def test_a_point_spreads_to_the_variance_of_sigma(sigma):
    """From one pixel on, sampling at whole pixels and the cut at 3 sigma take less than 5 % off the variance."""
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    spread = Blur(sigma)(point)[0]
    assert spread.sum().item() == pytest.approx(1, abs=1e-6)
    for axis in (0, 1):
        variance = (spread.sum(axis) * (torch.arange(41) - 20.0) ** 2).sum().item()
        assert variance == pytest.approx(sigma**2, rel=0.05)


def test_blur_keeps_constants_and_the_mean_inside(images):
    blur = Blur(1.0)
    constant = torch.full((1, 3, 9, 9), 0.3)
    torch.testing.assert_close(blur(constant), constant, rtol=1e-6, atol=0)  # the rounding of 7 float32 products
    inside = nn.functional.pad(images, [2 * blur.radius] * 4)
    assert blur(inside).mean().item() == pytest.approx(inside.mean().item(), rel=1e-5)
    assert blur(images).var().item() < images.var().item() / 4


def test_quantised_images_are_8_bit(images):
    every = Compose([GreyScale(), Blur(1.0), Quantise()])
    assert not eight_bit.check(GreyScale()(images)).all()
    assert eight_bit.check(every(images)).all()
    assert (every(images) - Blur(1.0)(GreyScale()(images))).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(Quantise()(every(images)), every(images))
    assert Quantise(2)(torch.tensor([[[-0.2, 0.4, 0.6, 1.3]]])).tolist() == [[[0, 0, 1, 1]]]


# Composition


def test_composition_is_one_after_the_other(images):
    both = Compose([lambda x: x + 1, lambda x: x * 2])
    assert torch.equal(both(images), (images + 1) * 2)
    assert torch.equal(Compose([])(images), images)


def test_modules_of_a_composition_are_submodules():
    layer = nn.Conv2d(3, 3, 1)
    both = Compose([layer, Compose([Blur(1.0)])])
    assert set(dict(both.named_parameters()).values()) == set(layer.parameters())
    assert both.double()(torch.rand(1, 3, 8, 8, dtype=torch.float64)).dtype == torch.float64


def test_nothing_but_users_own_modules_is_saved():
    assert not Compose(EVERY).state_dict()


def test_names():
    composed = Compose([PatchShuffle(4), GreyScale(), Blur(1.5), Quantise(16), torch.sigmoid])
    expected = "Compose([PatchShuffle(patch=4), GreyScale(), Blur(sigma=1.5), Quantise(levels=16), sigmoid])"
    assert repr(composed) == expected


# Inside Pyro and a captured step


@pytest.mark.parametrize("transformation", EVERY, ids=repr)
def test_captured_transformation_is_the_eager_one(transformation, images):
    graph = capture(transformation, images, preserve=nn.Identity())
    results = []
    for seed in range(3):
        torch.manual_seed(seed)
        eager = transformation(images)
        torch.manual_seed(seed)
        results.append(graph(images))
        torch.testing.assert_close(results[-1], eager, rtol=1e-6, atol=1e-7)
    assert torch.equal(results[0], results[1]) != ("PatchShuffle" in repr(transformation))


def test_two_shuffles_in_one_captured_step_differ(images):
    shuffle = PatchShuffle(2)
    graph = capture(lambda x: (shuffle(x), shuffle(x)), images, preserve=shuffle)
    first, second = graph(images)
    assert not torch.equal(first, second)


def test_compiler_takes_every_transformation_whole(images):
    """Without the kernels' own compilation, which takes longer than all other tests of this file."""
    every = Compose([PatchShuffle(2), GreyScale(), Blur(0.7), Quantise()])
    compiled = torch.compile(every, fullgraph=True, backend="aot_eager")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # torch's own, of its compiler
        torch.manual_seed(0)
        result = compiled(images)
    torch.manual_seed(0)
    torch.testing.assert_close(result, every(images), rtol=0, atol=1e-6)


def test_a_pyro_program_observes_a_fresh_transformation(images):
    shuffle = PatchShuffle(2)

    def model(x: torch.Tensor) -> None:
        with pyro.plate("image", len(x), dim=-1):
            pyro.sample("x_shuffled", dist.Normal(torch.zeros_like(x), 1).to_event(3), obs=shuffle(x))

    seen = [pyro.poutine.trace(model).get_trace(images) for _ in range(2)]
    values = [trace.nodes["x_shuffled"]["value"] for trace in seen]
    assert not torch.equal(*values)
    # the density of independent pixels, all alike, does not know their order
    torch.testing.assert_close(*(trace.log_prob_sum() for trace in seen))


def test_gradients_pass_through(images):
    x = images.double().requires_grad_()
    (gradient,) = torch.autograd.grad(Compose([PatchShuffle(2), Blur(0.7), GreyScale()])(x).square().sum(), x)
    assert gradient.abs().min() > 0


# Mistakes


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda x: PatchShuffle(3)(x), r"patch=3: .*8 × 12; give a divisor of 4"),
        (lambda x: PatchShuffle(8)(x), r"patch=8: .*8 × 12"),
        (lambda _: PatchShuffle(0), "patch=0: expected a whole number of at least 1"),
        (lambda _: PatchShuffle(2.0), "patch=2.0: expected a whole number"),
        (lambda x: PatchShuffle(2)(x[0, 0]), r"shape \(8, 12\): expected \(\.\.\., channel, row, column\)"),
        (lambda x: GreyScale()(x[:, :2]), "2 channels"),
        (lambda x: GreyScale()(x.to(torch.uint8)), r"torch\.uint8: expected floats"),
        (lambda x: Blur(1)(x.to(torch.uint8)), r"torch\.uint8: expected floats"),
        (lambda x: Quantise()(x.to(torch.uint8)), r"torch\.uint8: expected floats"),
        (lambda _: Blur(0), "sigma=0: expected a finite number above zero"),
        (lambda x: Blur(3)(x), r"sigma=3: .*8 × 12 .*2\.33333 at most"),
        (lambda _: Quantise(1), "levels=1: expected a whole number of at least 2"),
        (lambda _: Compose([GreyScale(), "blur"]), "transformation 'blur': expected a callable"),
    ],
)
def test_mistakes_end_in_one_line(images, wrong, match):
    with pytest.raises(UserError, match=match) as caught:
        wrong(images)
    assert "\n" not in str(caught.value)


def test_the_largest_blur_that_is_named_is_possible(images):
    assert torch.isfinite(Blur(2.33333)(images)).all()
