"""How a house number is put together, part by part: colours, light, texture, blur and noise by their formulas."""

import itertools

import pytest
import torch

from ppvae.datasets.composing import CHANCES, TEXTURE, _blurred, _colours, _light, _smooth, compose

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
SIZE = 20


def chances(count: int = 1, **given: float) -> dict[str, torch.Tensor]:
    """Half of everything but what is given."""
    return {name: torch.full((count, 1, 1, 1), given.get(name, 0.5)) for name in CHANCES}


def plain(count: int = 1, **given: float) -> dict[str, torch.Tensor]:
    """Without a light of its own."""
    flat = {"light": 0.0, "glow": 0.0}
    return {name: value.flatten() for name, value in chances(count, **flat | given).items()}


BLANK = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)


@pytest.mark.parametrize("lighter", [False, True])
@pytest.mark.parametrize(("luminance", "contrast"), list(itertools.product((0.0, 0.5, 1.0), (0.0, 0.7, 1.0))))
def test_wall_and_paint_are_so_far_apart_in_luminance(luminance, contrast, lighter):
    """The darker at 0.06 to 0.4, the other 0.25 to 0.6 above it and at most 0.96; colours stay in their cube."""
    hue = torch.arange(12)[:, None, None, None] / 12
    given = chances(12, luminance=luminance, contrast=contrast, chroma=1.0, ink_chroma=1.0)
    given["ink_hue"] = hue.flip(0)
    wall, paint = _colours(hue, torch.full((12, 1, 1, 1), lighter), given)
    low = 0.06 + 0.34 * luminance
    high = min(low + 0.25 + 0.35 * contrast, 0.96)
    for colour, expected in ((wall, low if lighter else high), (paint, high if lighter else low)):
        assert (colour > -1e-6).all()
        assert (colour < 1 + 1e-6).all()
        torch.testing.assert_close((LUMA * colour).sum(1), torch.full((12, 1, 1), expected))
    spread = [(colour - (LUMA * colour).sum(1, keepdim=True)).abs().amax(1).max() for colour in (wall, paint)]
    assert 0.15 < spread[0] <= 0.34  # of the chroma of a wall, and of an ink
    assert 0.1 < spread[1] <= 0.2


@pytest.mark.parametrize(("chance", "deviation"), [(0.0, 4 * 0.03), (1.0, 4 * 0.225)])
def test_blur_has_the_variance_of_its_kernels(chance, deviation):
    """(b, 1 − 2b, b) twice adds 2b each time; an edge keeps what it has."""
    image = torch.zeros(1, 1, 9, 9)
    image[..., 4, 4] = 1
    blurred = _blurred(image, torch.full((1, 1, 1, 1), chance))[0, 0]
    assert blurred.sum().item() == pytest.approx(1, abs=1e-6)
    place = torch.arange(9.0) - 4
    for axis in (0, 1):
        assert (blurred.sum(1 - axis) @ place.square()).item() == pytest.approx(deviation, rel=1e-5)
    flat = torch.ones(1, 1, 9, 9)
    torch.testing.assert_close(_blurred(flat, torch.ones(1, 1, 1, 1)), flat)


def test_a_texture_is_a_spline_that_keeps_planes():
    """Quadratic B-splines give constants and slopes exactly; of one knot of six the weight at most 3/4."""
    knots = torch.arange(TEXTURE[1]) - 2.5
    place = (torch.arange(SIZE) + 0.5) / SIZE * 4 - 2
    plane = 2 * knots[:, None] - 3 * knots + 1
    found = _smooth(plane.expand(1, 3, -1, -1), SIZE)[0]
    torch.testing.assert_close(found, (2 * place[:, None] - 3 * place + 1).expand(3, -1, -1))
    single = torch.zeros(1, 1, 6, 6)
    single[..., 2, 3] = 1
    surface = _smooth(single, 400)[0, 0]
    assert surface.max().item() == pytest.approx(0.75**2, abs=1e-3)
    assert surface.argmax().item() // 400 == pytest.approx(400 * 1.5 / 4, abs=1)
    assert (surface >= 0).all()


def test_light_slopes_along_both_axes_and_glows_about_a_point():
    """1 + 0.9 l ((a − ½)(x − ½) + (d − ½)(y − ½)) + 0.35 g (0.4 − r²), x along columns."""
    place = (torch.arange(SIZE) + 0.5) / SIZE - 0.5
    across = _light(chances(light=1.0, light_across=1.0, glow=0.0), SIZE)[0, 0]
    down = _light(chances(light=0.5, light_down=0.0, glow=0.0), SIZE)[0, 0]
    torch.testing.assert_close(across, (1 + 0.45 * place).expand(SIZE, -1))
    torch.testing.assert_close(down, (1 - 0.225 * place)[:, None].expand(-1, SIZE))
    glow = _light(chances(light=0.0, glow=1.0, glow_across=0.725, glow_down=0.225), SIZE)[0, 0]
    assert glow[4, 14].item() == pytest.approx(1 + 0.35 * 0.4)
    assert glow[4, 4].item() == pytest.approx(1 + 0.35 * (0.4 - 0.25))


@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_without_light_and_texture_a_wall_is_its_colour_rounded_and_its_noise(grain):
    """0.004 to 0.025 of the noise, channel by channel."""
    hue, lighter = torch.tensor([0.3]), torch.tensor([True])
    given = plain(grain=grain)
    wall, _ = _colours(hue[:, None, None, None], lighter[:, None, None, None], chances(grain=grain))
    noise = torch.randn(1, 3, SIZE, SIZE)
    found = compose(BLANK, hue, lighter, given, torch.zeros(1, *TEXTURE), noise)
    exact = (wall + (0.004 + 0.021 * grain) * noise).clamp(0, 1) * 255
    assert (found - exact).abs().max() < 0.5 + 1e-3
    still = compose(BLANK, hue, lighter, given, torch.zeros(1, *TEXTURE), 0 * noise)
    assert torch.equal(still, (wall * 255).round().to(torch.uint8).expand_as(still))


def test_texture_is_added_to_what_the_light_falls_on():
    """0.01 to 0.05 of the spline; here of knots that are all alike."""
    hue, lighter, none = torch.tensor([0.3]), torch.tensor([True]), torch.zeros(1, 3, SIZE, SIZE)
    wall, _ = _colours(hue[:, None, None, None], lighter[:, None, None, None], chances())
    for chance, share in ((0.0, 0.01), (1.0, 0.05)):
        found = compose(BLANK, hue, lighter, plain(texture=chance), torch.full((1, *TEXTURE), 2.0), none)
        assert (found - (wall + 2 * share) * 255).abs().max() < 0.5 + 1e-3
