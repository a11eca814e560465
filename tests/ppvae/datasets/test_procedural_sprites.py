"""Sprites against closed forms: areas, centroids, hues; the grid against its index; independence of the factors."""

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import chdtrc

from ppvae.datasets import draw_sprites, sprite_grid, sprites
from ppvae.datasets.drawing import SHAPES
from ppvae.errors import UserError

FACTORS = ("hue", "shape", "x", "y", "depth")


def coverage(images: torch.Tensor) -> torch.Tensor:
    """Share of every pixel covered, (n, H, W), of red sprites."""
    return images[:, 0].double() / 255


@pytest.fixture(scope="module")
def placed() -> dict[str, torch.Tensor]:
    """Places and sizes that have nothing to do with the pixel grid."""
    generator = torch.Generator().manual_seed(0)
    x, y, depth = torch.rand(3, 300, generator=generator)
    return {"x": 22 + 20 * x, "y": 22 + 20 * y, "depth": 13 + 14 * depth}


@pytest.mark.parametrize(
    ("shape", "tolerance"), [("square", 0.001), ("disc", 0.01), ("triangle", 0.01), ("heart", 0.02)]
)
def test_area_is_that_of_the_disc_of_the_apparent_diameter(placed, shape, tolerance):
    area = coverage(draw_sprites(0.0, shape, **placed)).sum((1, 2))
    analytic = math.pi * placed["depth"].double() ** 2 / 4
    assert (area / analytic - 1).abs().max() < tolerance


@pytest.mark.parametrize(
    ("shape", "width", "height"),
    [
        ("square", math.sqrt(math.pi) / 2, math.sqrt(math.pi) / 2),
        ("disc", 1, 1),
        ("triangle", math.sqrt(math.pi / math.sqrt(3)), math.sqrt(math.pi / math.sqrt(3)) * math.sqrt(3) / 2),
        (
            "heart",
            *(math.sqrt(math.pi / 4 / (0.5 + math.pi / 8)) * np.array([0.5 + math.sqrt(0.5), 0.75 + math.sqrt(2) / 4])),
        ),
    ],
)
def test_extent_against_plane_geometry(shape, width, height):
    covered = coverage(draw_sprites(0.0, shape, 512, 512, 600, image_size=1024))[0]
    assert covered.amax(0).sum().item() == pytest.approx(600 * width, abs=1.5)
    assert covered.amax(1).sum().item() == pytest.approx(600 * height, abs=1.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_centroid_is_x_and_y(placed, shape):
    covered = coverage(draw_sprites(0.0, shape, **placed))
    centres = torch.arange(64).double() + 0.5
    area = covered.sum((1, 2))
    assert ((covered.sum(1) @ centres) / area - placed["x"]).abs().max() < 0.06
    assert ((covered.sum(2) @ centres) / area - placed["y"]).abs().max() < 0.06


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("factor", "axis"), [("x", -1), ("y", -2)])
def test_one_level_of_x_or_y_is_one_pixel(shape, factor, axis):
    others = {"hue", "x", "y", "depth"} - {factor}
    images = sprite_grid(shapes=(shape,), levels=dict.fromkeys(others, 1)).stored()
    assert len(images) == 20
    for level in range(20):
        assert torch.equal(images[level], images[0].roll(level, axis))


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_symmetric_about_their_vertical_axis(shape):
    image = draw_sprites(0.0, shape, 32, 32, 17.3)
    assert torch.equal(image, image.flip(-1))
    assert torch.equal(image, image.flip(-2)) == (shape in ("square", "disc"))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_sprites_stay_inside_the_image(shape, size):
    """At the ends of the ranges of x, y and depth, on a canvas twice as wide, nothing shows outside the image."""
    x, y = np.array([(x, y) for x in (22 / 64, 42 / 64) for y in (22 / 64, 42 / 64)]).T * size + size / 2
    drawn = draw_sprites(0.0, shape, x, y, size * 27 / 64, image_size=2 * size)
    inside = slice(size // 2, size // 2 + size)
    assert drawn[..., inside, inside].sum() == drawn.sum() > 0


@pytest.mark.parametrize("size", [32, 33, 64])
def test_ranges_scale_with_the_image(size):
    factors = sprite_grid(image_size=size).factors
    assert size * 22 / 64 < min(factors["x"].attrs["values"]) < max(factors["y"].attrs["values"]) < size * 42 / 64
    assert (
        size * 13 / 64 < min(factors["depth"].attrs["values"]) < max(factors["depth"].attrs["values"]) < size * 27 / 64
    )


def test_hue_is_hsv_at_full_saturation_and_value():
    hues = [i / 48 for i in range(48)]
    drawn = draw_sprites(hues, "disc", 32, 32, 20)[:, :, 32, 32].numpy() / 255
    expected = [colorsys.hsv_to_rgb(hue, 1, 1) for hue in hues]
    np.testing.assert_allclose(drawn, expected, atol=1 / 510 + 1e-6)


@pytest.mark.parametrize(
    ("hue", "count", "expected"),
    [
        ((0.0, 1.0), 4, [0, 0.25, 0.5, 0.75]),
        ((0.3, 1.3), 2, [0.3, 0.8]),
        ((0.0, 0.5), 3, [0, 0.25, 0.5]),
        ((0.9, 1.1), 3, [0.9, 1.0, 1.1]),
        ((0.2, 0.7), 1, [0.2]),
    ],
)
def test_hue_levels_include_both_ends_of_a_part_of_the_circle(hue, count, expected):
    factors = sprite_grid(hue=hue, levels={"hue": count}).factors
    found = factors["hue"].attrs["values"] if count > 1 else [factors.attrs["constant_hue"]]
    assert found == pytest.approx(expected)


def test_grid_index_is_the_factor_levels_in_c_order():
    counts = {"hue": 3, "x": 4, "y": 2, "depth": 5}
    grid = sprite_grid(shapes=("heart", "disc"), levels=counts)
    expected = list(itertools.product(range(3), range(2), range(4), range(2), range(5)))
    assert list(grid.factors.data_vars) == list(FACTORS)
    assert np.stack([grid.factors[name] for name in FACTORS], 1).tolist() == [list(row) for row in expected]
    assert grid.factors["shape"].attrs["values"] == ["heart", "disc"]
    assert len(grid) == 240


def test_default_grid_is_lazy_and_equals_eager_drawing():
    grid = sprite_grid()
    assert len(grid) == 16 * 3 * 20 * 20 * 8
    chosen = torch.randint(len(grid), (200,), generator=torch.Generator().manual_seed(3))
    part = grid.subset(chosen)
    values = {name: np.array(part.factors[name].attrs["values"])[part.factors[name]] for name in FACTORS}
    eager = draw_sprites(values["hue"], values["shape"].tolist(), values["x"], values["y"], values["depth"])
    assert torch.equal(grid.stored(chosen), eager)
    assert torch.equal(part.stored(), eager)
    assert torch.equal(torch.cat([grid.stored([int(i)]) for i in chosen[:20]]), eager[:20])


def test_random_sprites_are_images_of_the_grid():
    data, grid = sprites(100, seed=5), sprite_grid()
    index = np.ravel_multi_index([data.factors[name] for name in FACTORS], (16, 3, 20, 20, 8))
    assert torch.equal(data.stored(), grid.stored(index))


def test_the_seed_alone_decides():
    before = torch.get_rng_state()
    first, again, other = sprites(64, seed=1), sprites(64, seed=1), sprites(64, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.stored(), again.stored())
    assert first.factors.equals(again.factors)
    assert not torch.equal(first.stored(), other.stored())


def chi_square_p(counts: np.ndarray, expected: np.ndarray, freedom: int) -> float:
    return chdtrc(freedom, ((counts - expected) ** 2 / expected).sum())


def test_factors_are_uniform_and_pairwise_independent():
    """Chi-square: a false-alarm rate of 1e-4 for a fresh seed, over the 5 + 10 tests together."""
    data = sprites(8192, seed=0, levels={"x": 8, "y": 8}, image_size=32)
    columns = {name: (data.factors[name].values, data.factors[name].attrs["levels"]) for name in FACTORS}
    for column, levels in columns.values():
        uniform = np.full(levels, len(data) / levels)
        assert chi_square_p(np.bincount(column), uniform, levels - 1) > 1e-4 / 15
    for (one, rows), (two, others) in itertools.combinations(columns.values(), 2):
        counts = np.bincount(one * others + two, minlength=rows * others).reshape(rows, others)
        expected = np.outer(counts.sum(1), counts.sum(0)) / len(data)
        assert chi_square_p(counts, expected, (rows - 1) * (others - 1)) > 1e-4 / 15


def test_constant_factors_are_named_not_listed():
    factors = sprite_grid(shapes=("heart",), levels={"hue": 1, "depth": 1}).factors
    assert list(factors.data_vars) == ["x", "y"]
    assert (factors.attrs["constant_shape"], factors.attrs["constant_depth"]) == ("heart", 20.0)
    assert (
        "image" in sprite_grid(shapes=("disc",), levels=dict.fromkeys(("hue", "x", "y", "depth"), 1)).to_xarray().dims
    )


def test_tables_describe_themselves():
    table = sprites(8, seed=4).to_xarray()
    assert {name: table[name].attrs.get("units") for name in FACTORS} == {
        "hue": "turn", "shape": None, "x": "pixel", "y": "pixel", "depth": "pixel"
    }  # fmt: skip
    assert all(table[name].attrs["long_name"] for name in FACTORS)
    assert table.attrs["title"] == "8 random sprites, one coloured shape on black"
    assert table.attrs["seed"] == 4


def test_depth_levels_are_equal_steps():
    values = sprite_grid().factors["depth"].attrs["values"]
    assert values == pytest.approx([13 + 14 / 8 * (i + 0.5) for i in range(8)])


def test_broadcasting_and_no_sprites():
    one = draw_sprites(0.5, 3, 20, 30, 12)
    assert one.shape == (1, 3, 64, 64)
    many = draw_sprites([0.5] * 3, torch.tensor([3]), 20, [30.0] * 3, 12)
    assert torch.equal(many, one.expand(3, -1, -1, -1))
    assert draw_sprites([], "disc", 20, 30, 12).shape == (0, 3, 64, 64)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shapes": ("disk",)}, "did you mean 'disc'.*square, disc, triangle, heart"),
        ({"shapes": ("banana",)}, "expected one of square, disc, triangle, heart"),
        ({"shapes": "disc"}, r"pass \('disc',\)"),
        ({"shapes": ()}, "one or more different"),
        ({"shapes": ("disc", "disc")}, "different"),
        ({"hue": (0.5, 0.5)}, "levels={'hue': 1}"),
        ({"hue": (0.5, 0.1)}, "start < stop"),
        ({"hue": (-0.1, 0.5)}, "0 <= start"),
        ({"hue": (0.0, 1.5)}, "turns"),
        ({"hue": (0.0, float("nan"))}, "nan"),
        ({"hue": 0.5}, "two numbers"),
        ({"hue": ("red", "blue")}, "two numbers"),
        ({"levels": {"x": 0}}, r"levels\['x'\]=0"),
        ({"levels": {"x": 2.5}}, "whole number"),
        ({"levels": {"heu": 3}}, "did you mean 'hue'"),
        ({"levels": {"shape": 3}}, "shapes="),
        ({"image_size": 8}, "at least 32"),
        ({"size": 0}, "size=0"),
        ({"size": 1.5}, "whole number"),
        ({"seed": -1}, "seed=-1"),
        ({"device": "gpu9"}, "gpu9"),
    ],
)
def test_bad_arguments_end_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as caught:
        sprites(**{"size": 2} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shape": "hart"}, "did you mean 'heart'"),
        ({"shape": ["disc", "hart"]}, "heart"),
        ({"shape": 4}, r"0\.\.3"),
        ({"depth": 0.0}, "positive"),
        ({"x": float("nan")}, "x holds NaN"),
        ({"x": [1.0, 2.0], "y": [1.0, 2.0, 3.0]}, "one length"),
        ({"x": [[1.0]]}, "one length"),
        ({"image_size": 0}, "image_size=0"),
    ],
)
def test_bad_sprites_end_in_one_line(options, match):
    with pytest.raises(UserError, match=match):
        draw_sprites(**{"hue": 0.0, "shape": "disc", "x": 32, "y": 32, "depth": 12} | options)
