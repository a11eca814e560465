"""Conversions against their definitions: thresholds, Bernoulli means, cells of uniform noise; and they are captured."""

import pickle

import pytest
import torch
from torch import nn

from ppvae.datasets import Conversion
from ppvae.errors import UserError
from ppvae.svi.capture import capture

LEVELS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
ALL = [Conversion(), Conversion("static"), Conversion("dynamic"), Conversion(dequantise="uniform")]
NAMES = ["none", "static", "dynamic", "uniform"]


def test_without_a_conversion_pixels_are_levels_of_255():
    levels = torch.linspace(0, 1, 256, dtype=torch.float64).view(LEVELS.shape).float()
    assert torch.equal(Conversion()(LEVELS), levels)
    assert Conversion()(LEVELS).dtype == torch.float32


@pytest.mark.parametrize(("threshold", "first"), [(0.5, 128), (0.0, 1), (0.9, 230)])
def test_static_is_above_the_threshold(threshold, first):
    ones = Conversion("static", threshold=threshold)(LEVELS).flatten()
    assert ones.tolist() == [float(k >= first) for k in range(256)]


def test_dynamic_means_are_the_pixels(within_errors):
    draws = Conversion("dynamic")(LEVELS.expand(20_000, -1, -1, -1))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    within_errors(draws[:, 0].flatten(1), torch.linspace(0, 1, 256), resolution=0.02)
    assert draws[:, 0, 0, 0].max() == 0  # black stays black, white stays white
    assert draws[:, 0, -1, -1].min() == 1


def test_uniform_noise_fills_the_cell_and_floor_undoes_it(within_errors):
    draws = Conversion(dequantise="uniform")(LEVELS.expand(4_000, -1, -1, -1))
    assert torch.equal((draws * 256).floor().to(torch.uint8), LEVELS.expand_as(draws))
    within = (draws * 256 - LEVELS).flatten()
    assert 0 <= within.min() < within.max() < 1
    within_errors(within[:, None], 0.5, resolution=0.01)
    within_errors(within.square()[:, None], 1 / 3, resolution=0.01)


def test_the_largest_noise_does_not_round_into_the_next_cell():
    """In float32, 255 + (1 - 2^-24) is 256: without the steps of 2^-16 this pixel would be 1."""
    noise = torch.full(LEVELS.shape, 1 - 2**-24)
    images = Conversion(dequantise="uniform")(LEVELS, noise)
    assert torch.equal((images * 256).floor(), LEVELS.float())


@pytest.mark.parametrize("conversion", [ALL[2], ALL[3]], ids=NAMES[2:])
def test_random_conversions_are_fresh_each_time_and_follow_the_seed(conversion):
    assert conversion.random
    torch.manual_seed(1)
    first, second = conversion(LEVELS), conversion(LEVELS)
    torch.manual_seed(1)
    assert torch.equal(conversion(LEVELS), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("conversion", ALL, ids=NAMES)
def test_floats_pass_and_the_conversion_can_be_pickled(conversion):
    images = torch.rand(2, 1, 3, 3)
    assert conversion(images) is images
    assert pickle.loads(pickle.dumps(conversion)) == conversion


@pytest.mark.parametrize("conversion", ALL, ids=NAMES)
def test_conversions_are_captured_with_their_randomness(conversion):
    module = nn.Linear(16, 1)

    def step(pixels):
        images = conversion(pixels)
        return module(images).square().sum(), images

    graph = capture(step, LEVELS, preserve=module)
    assert any(node.target is torch.ops.aten.rand.default for node in graph.graph.nodes) == conversion.random
    for other in (LEVELS, LEVELS.flip(-1)):
        torch.manual_seed(3)
        expected = step(other)[1]
        torch.manual_seed(3)
        assert torch.equal(graph(other)[1], expected)
    assert torch.equal(graph(LEVELS)[1], graph(LEVELS)[1]) != conversion.random


@pytest.mark.parametrize(
    ("conversion", "stored", "kind", "phrase"),
    [
        (ALL[0], "8-bit", "8-bit", "8-bit"),
        (ALL[0], "binary", "binary", "binary"),
        (ALL[1], "8-bit", "binary", "binarised at 0.5"),
        (ALL[2], "8-bit", "binary", "binarised dynamically"),
        (ALL[3], "binary", "real", "dequantised uniformly"),
    ],
)
def test_kinds_and_phrases(conversion, stored, kind, phrase):
    assert conversion.kind(stored) == kind
    assert conversion.describe(stored) == phrase


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"binarise": "dynamc"}, "none, static, dynamic"),
        ({"dequantise": "normal"}, "none, uniform"),
        ({"binarise": "static", "dequantise": "uniform"}, "leave one"),
        ({"threshold": 1.0}, r"\[0, 1\)"),
        ({"threshold": "high"}, "number"),
        ({"threshold": float("nan")}, "nan"),
    ],
)
def test_bad_choices_end_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as caught:
        Conversion(**options)
    assert "\n" not in str(caught.value)
