"""Digits composed into small photographs of house numbers, many at a time."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ppvae.datasets.drawing import hue_to_rgb

__all__ = ["CHANCES", "TEXTURE", "compose", "inked"]

CHANCES = (
    *("across", "down", "height", "width", "slant", "rise", "left_gap", "right_gap", "bold"),
    *("luminance", "contrast", "chroma", "ink_hue", "ink_chroma"),
    *("light", "light_across", "light_down", "glow", "glow_across", "glow_down", "texture", "blur", "grain"),
)
"""What is left to chance in an image: one number of [0, 1) each."""

TEXTURE = (3, 6, 6)
"""Shape of the normal numbers that a texture interpolates."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_INKED = 32


def compose(
    digits: Tensor, hue: Tensor, lighter: Tensor, chances: Mapping[str, Tensor], texture: Tensor, noise: Tensor
) -> Tensor:
    """Photographs of digits painted on a wall: uint8 (n, 3, S, S).

    ``digits`` uint8 (n, 3, h, w), white on black: centre, left and right, blank where there is none; ``hue`` of the
    wall in turns and whether the paint is ``lighter``, (n,); ``chances`` (n,) for each of ``CHANCES``; normal numbers
    ``texture`` (n, *TEXTURE) and ``noise`` (n, 3, S, S). Each image is made of its own numbers alone.
    """
    chances = {name: chances[name].float()[:, None, None, None] for name in CHANCES}
    size = noise.shape[-1]
    wall, paint = _colours(hue[:, None, None, None], lighter[:, None, None, None], chances)
    scene = wall + (paint - wall) * _coverage(digits, chances, size)
    uneven = _between(0.01, 0.05, chances["texture"]) * _smooth(texture, size)
    scene = scene * _light(chances, size) + uneven
    scene = _blurred(scene, chances["blur"]) + _between(0.004, 0.025, chances["grain"]) * noise
    return (scene.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def inked(digits: Tensor) -> Tensor:
    """Which pixels of light digits on dark belong to the strokes."""
    return digits > _INKED


def _between(low: float, high: float, chance: Tensor) -> Tensor:
    return low + (high - low) * chance


def _colours(hue: Tensor, lighter: Tensor, chances: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Colours (n, 3, 1, 1) of wall and paint, whose luminances are 0.25 to 0.6 apart."""
    dark, contrast = _between(0.06, 0.4, chances["luminance"]), _between(0.25, 0.6, chances["contrast"])
    low, high = dark, (dark + contrast).clamp(max=0.96)
    wall = _colour(hue, torch.where(lighter, low, high), _between(0.06, 0.34, chances["chroma"]))
    ink = _colour(chances["ink_hue"], torch.where(lighter, high, low), _between(0, 0.2, chances["ink_chroma"]))
    return wall, ink


def _colour(hue: Tensor, luminance: Tensor, chroma: Tensor) -> Tensor:
    """(n, 3, 1, 1) of that luminance, so colourful as its hue and the colour cube allow."""
    pure = hue_to_rgb(hue.flatten())[:, :, None, None]
    away = (pure - _luminance(pure)) * chroma
    room = torch.where(away > 0, 1 - luminance, luminance) / away.abs().clamp(min=1e-6)
    return luminance + away * room.amin(1, keepdim=True).clamp(max=1)


def _luminance(colour: Tensor) -> Tensor:
    return sum(weight * channel for weight, channel in zip(_LUMA, colour.split(1, dim=1), strict=True))


def _coverage(digits: Tensor, chances: Mapping[str, Tensor], size: int) -> Tensor:
    """Share of each pixel that is painted, (n, 1, size, size)."""
    n, _, rows, columns = digits.shape
    across, down = torch.broadcast_tensors(*_sources(digits, chances, size))
    grid = torch.stack([across * (2 / columns) - 1, down * (2 / rows) - 1], -1).flatten(0, 1)
    placed = grid_sample((digits / 255).view(-1, 1, rows, columns), grid, align_corners=False).view(n, 3, size, size)
    return (placed.amax(1, keepdim=True) * _between(1.1, 2.2, chances["bold"])).clamp(max=1)


def _sources(digits: Tensor, chances: Mapping[str, Tensor], size: int) -> tuple[Tensor, Tensor]:
    """Where in its digit's image each pixel looks: x (n, 3, size, size) and y (n, 3, size, 1).

    All digits of a number are as high, narrow and slanted; their line may rise. The centre digit ends, at the
    widest, so far from the border that a twelfth of the image is left to a neighbour behind the widest gap.
    """
    (left, right), (top, bottom) = (_extent(inked(digits).any(axis)) for axis in (-2, -1))
    scale = _between(0.62, 0.84, chances["height"]) * size / torch.maximum(right - left, bottom - top)
    widest = 0.54 * size / ((right - left) * scale)[:, :1]
    narrowing = torch.minimum(_between(0.65, 0.95, chances["width"]), widest)
    half = (right - left) * scale * narrowing / 2
    x = size * _between(0.46, 0.54, chances["across"])
    left_gap, right_gap = (size * _between(0.01, 0.1, chances[gap]) for gap in ("left_gap", "right_gap"))
    before, after = half[:, :1] + left_gap + half[:, 1:2], half[:, :1] + right_gap + half[:, 2:]
    centre_x = torch.cat([x, x - before, x + after], 1)
    centre_y = size * _between(0.46, 0.54, chances["down"]) + _between(-0.12, 0.12, chances["rise"]) * (centre_x - x)
    pixel = torch.arange(size) + 0.5
    down = pixel[:, None] - centre_y
    across = pixel - centre_x + _between(-0.15, 0.25, chances["slant"]) * down
    return across / (scale * narrowing) + (left + right) / 2, down / scale + (top + bottom) / 2


def _extent(lines: Tensor) -> tuple[Tensor, Tensor]:
    """First and last edge, (n, 3, 1, 1), of the lines with ink in (n, 3, length); without any, those of all."""
    first, behind = (line.to(torch.uint8).argmax(-1)[..., None, None] for line in (lines, lines.flip(-1)))
    return first, lines.shape[-1] - behind


def _light(chances: Mapping[str, Tensor], size: int) -> Tensor:
    """Relative illumination, (n, 1, size, size): a slope, and a glow around a point."""
    place = (torch.arange(size) + 0.5) / size
    x, y = place, place[:, None]
    slope = (chances["light_across"] - 0.5) * (x - 0.5) + (chances["light_down"] - 0.5) * (y - 0.5)
    distance = (x - chances["glow_across"]).square() + (y - chances["glow_down"]).square()
    return 1 + 0.9 * chances["light"] * slope + 0.35 * chances["glow"] * (0.4 - distance)


def _smooth(knots: Tensor, size: int) -> Tensor:
    """Uniform quadratic B-spline surfaces of the knots: (n, 3, k, k) → (n, 3, size, size)."""
    spans = knots.shape[-1] - 2
    place = (torch.arange(size) + 0.5) / size * spans
    t = place - place.floor()
    weights = torch.stack([(1 - t).square() / 2, 0.5 + t - t.square(), t.square() / 2])
    basis = torch.zeros(size, knots.shape[-1])
    basis.scatter_(1, (place.floor().long() + torch.arange(3)[:, None]).T, weights.T)
    return basis @ knots @ basis.T


def _blurred(scene: Tensor, chance: Tensor) -> Tensor:
    """Twice the kernel (b, 1 - 2b, b) along rows and columns: a standard deviation of 0.35 to 0.95 pixels."""
    b = _between(0.03, 0.225, chance)
    for _ in range(2):
        for axis in (-2, -1):
            last = scene.shape[axis] - 1
            before = torch.cat([scene.narrow(axis, 0, 1), scene.narrow(axis, 0, last)], axis)
            after = torch.cat([scene.narrow(axis, 1, last), scene.narrow(axis, last, 1)], axis)
            scene = scene + b * (before + after - 2 * scene)
    return scene
