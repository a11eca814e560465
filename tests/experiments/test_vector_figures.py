"""Figures as SVG: dark where the page is, pictures and what lies over heat maps as they are, and small."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments.vector_figures import LARGEST, as_svg, in_the_dark


def svg(draw) -> str:
    figure = Figure(figsize=(3, 2))
    draw(figure.subplots())
    return as_svg(figure, 100).decode()


def test_lightness_is_turned_round_and_hue_kept():
    assert in_the_dark("#ffffff") == "#212121"
    assert in_the_dark("#000000") == "#ededed"
    red, green, blue = (int(in_the_dark("#400000")[place : place + 2], 16) for place in (1, 3, 5))
    assert red > green == blue > 128


def test_every_colour_that_is_drawn_has_a_rule_for_the_dark():
    text = svg(lambda axes: axes.plot([0, 1], color="#123456"))
    (rules,) = re.findall(r"<style>(@media \(prefers-color-scheme:dark\).*)</style>", text)
    drawn = set(re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", text.replace(rules, "")))
    assert "stroke: #123456" in drawn
    assert all(f'[style*="{colour}"]' in rules for colour in drawn)


def test_a_small_picture_is_held_by_its_own_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    text = svg(lambda axes: axes.imshow(pixels))
    (held,) = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert sorted(
        map(tuple, np.asarray(Image.open(io.BytesIO(base64.b64decode(held))))[..., :3].reshape(-1, 3))
    ) == sorted(map(tuple, pixels.reshape(-1, 3)))


def test_numbers_over_a_heat_map_keep_their_colour():
    def draw(axes):
        axes.imshow(np.eye(2), cmap="Blues")
        axes.text(0, 0, "1", color="#ffffff")

    assert re.search(r'<g id="over_0">\s*(<!--.*?-->)?\s*<g style="fill: #ffffff"', svg(draw))


@pytest.mark.parametrize(
    ("colours", "turned"), [("Blues", True), ("RdBu_r", True), ("viridis", False), ("gray", False)]
)
def test_a_heat_map_that_fades_to_white_is_turned_in_the_dark_with_its_bar(colours, turned):
    """White to the grey that white lines take, with the hues where they were; of others nothing."""

    def draw(axes):
        axes.figure.colorbar(axes.imshow(np.eye(2), cmap=colours))
        axes.figure.add_axes((0, 0, 0.1, 0.1)).imshow(np.eye(2), cmap="gray")

    text = svg(draw)
    assert ("{filter:invert(0.87) hue-rotate(180deg)}" in text) == turned
    groups = re.findall(r'<g id="(heat_\d|axes_\d)">(.*?)(?=<g id="(?:heat|axes)_\d">|$)', text, re.DOTALL)
    assert [name.partition("_")[0] for name, _ in groups] == (["heat", "heat", "axes"] if turned else ["axes"] * 3)
    assert all("<image" in inside for _, inside in groups)


@pytest.mark.parametrize(("side", "lossy"), [(100, True), (600, False)])
def test_pictures_do_not_make_a_page_heavy(side, lossy):
    """Noise, which no exact format makes smaller: with loss, or where there is more of it than is shown, resampled."""
    noise = np.random.default_rng(0).random((side, side, 3))
    text = svg(lambda axes: [axes.imshow(noise) for _ in range(12)])
    assert ("image/jpeg" in text) == lossy
    assert ("image/png" in text) != lossy
    assert len(text) < LARGEST
