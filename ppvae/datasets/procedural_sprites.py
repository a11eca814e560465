"""Sprites with five independent factors: hue, shape, x, y and depth."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.drawing import SHAPES, draw_sprites, shape_code
from ppvae.datasets.factors import factor
from ppvae.datasets.images import RenderedImages
from ppvae.errors import UserError, check_whole

__all__ = ["DEFAULT_LEVELS", "sprite_grid", "sprites"]

DEFAULT_LEVELS = {"hue": 16, "x": 20, "y": 20, "depth": 8}

_DESCRIPTIONS = {
    "hue": {"long_name": "colour hue", "units": "turn"},
    "shape": {"long_name": "shape"},
    "x": {"long_name": "centroid from the left edge", "units": "pixel"},
    "y": {"long_name": "centroid from the top edge", "units": "pixel"},
    "depth": {"long_name": "depth, seen as apparent diameter", "units": "pixel"},
}


def sprites(
    size: int = 8192,
    seed: int = 0,
    *,
    hue: tuple[float, float] = (0.0, 1.0),
    shapes: Sequence[str] = ("square", "disc", "triangle"),
    levels: Mapping[str, int] | None = None,
    image_size: int = 64,
    device: str | torch.device = "cpu",
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
) -> ImageDataset:
    """Random images of one sprite, uniform over the grid of ``sprite_grid`` and drawn with replacement.

    The images are resident on ``device``, (size, 3, image_size, image_size); the factors depend on the seed alone,
    not on the device. ``binarise``, ``dequantise`` as in ``Conversion``. See ``sprite_grid`` for the factors, the other
    arguments and the errors.
    """
    check_whole("size", size, 1)
    check_whole("seed", seed, 0)
    values = _factor_values(hue, shapes, levels, image_size)
    count = math.prod(map(len, values.values()))
    positions = torch.randint(count, (size,), generator=torch.Generator().manual_seed(seed))
    images = _renderer(values, image_size, device)(positions)
    table = _table(values, positions, f"{size} random sprites", {"seed": seed, "image_size": image_size})
    return ImageDataset(images, table, "sprites", binarise=binarise, dequantise=dequantise)


def sprite_grid(
    *,
    hue: tuple[float, float] = (0.0, 1.0),
    shapes: Sequence[str] = ("square", "disc", "triangle"),
    levels: Mapping[str, int] | None = None,
    image_size: int = 64,
    device: str | torch.device = "cpu",
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
) -> ImageDataset:
    """Every combination of the factors hue, shape, x, y, depth, in C order (depth fastest), drawn when asked for.

    ``hue`` is a range in turns: the whole circle (0, 1) leaves its end out, a part includes both ends (one level: its
    start). ``shapes`` are names of ``drawing.SHAPES``. ``levels`` overrides 16 hues, 20 x, 20 y, 8 depths. x and y are
    the mid-points of equal steps between 22/64 and 42/64 of the image (20 levels at 64 pixels: one pixel apart),
    depth those between 13/64 and 27/64 of its width, so every sprite lies inside the image and no factor limits
    another. (Half that size, and the squared error of a black image is so small that a VAE with a fixed scale stays
    at it for many epochs.) A factor with one level is a constant: it is left out of ``factors`` and named in its
    attributes.
    Errors: :class:`~ppvae.errors.UserError` for unknown shapes or factors, a bad hue range, levels below one, or images
    under 32 pixels.
    """
    values = _factor_values(hue, shapes, levels, image_size)
    positions = torch.arange(math.prod(map(len, values.values())))
    table = _table(values, positions, f"Full grid of {len(positions)} sprites", {"image_size": image_size})
    images = RenderedImages(_renderer(values, image_size, device), positions, (3, image_size, image_size))
    return ImageDataset(images, table, "sprite_grid", binarise=binarise, dequantise=dequantise)


def _factor_values(
    hue: tuple[float, float], shapes: Sequence[str], levels: Mapping[str, int] | None, image_size: int
) -> dict[str, list[float] | list[str]]:
    """The values of every factor's levels, in grid order."""
    check_whole("image_size", image_size, 32)
    counts = DEFAULT_LEVELS | _checked_levels(levels or {})
    place = {name: _midpoints(22 * image_size / 64, 42 * image_size / 64, counts[name]) for name in ("x", "y")}
    depth = _midpoints(image_size * 13 / 64, image_size * 27 / 64, counts["depth"])
    return {"hue": _hues(hue, counts["hue"]), "shape": _checked_shapes(shapes), **place, "depth": depth}


def _midpoints(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * (i + 0.5) / count for i in range(count)]


def _hues(hue: tuple[float, float], count: int) -> list[float]:
    try:
        start, stop = (float(end) for end in hue)
    except (TypeError, ValueError):
        raise UserError(f"hue={hue!r}: expected two numbers (start, stop) in turns, such as (0.0, 1.0)") from None
    whole = math.isclose(stop - start, 1)
    if not (0 <= start < 1 and start < stop and (stop - start < 1 or whole)):
        raise UserError(
            f"hue=({start:g}, {stop:g}): expected 0 <= start < 1 and start < stop <= start + 1 turns;"
            " for one fixed hue pass levels={'hue': 1}"
        )
    return np.linspace(start, stop, count, endpoint=not whole).tolist()


def _checked_shapes(shapes: Sequence[str]) -> list[str]:
    if isinstance(shapes, str):
        raise UserError(f"shapes={shapes!r}: expected a sequence of names; pass ({shapes!r},)")
    names = [SHAPES[shape_code(name)] for name in shapes]
    if not names or len(set(names)) < len(names):
        raise UserError(f"shapes={names}: expected one or more different names of {', '.join(SHAPES)}")
    return names


def _checked_levels(levels: Mapping[str, int]) -> dict[str, int]:
    for name, count in levels.items():
        if name == "shape":
            raise UserError("levels has 'shape': its levels are the names given as shapes; pass shapes=(...) instead")
        if name not in DEFAULT_LEVELS:
            near = difflib.get_close_matches(str(name), DEFAULT_LEVELS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(f"unknown factor {name!r} in levels: {hint}expected {', '.join(DEFAULT_LEVELS)}")
        check_whole(f"levels[{name!r}]", count, 1)
    return dict(levels)


def _renderer(
    values: Mapping[str, Sequence], image_size: int, device: str | torch.device
) -> Callable[[Tensor], Tensor]:
    """A function from (n,) grid positions to uint8 images (n, 3, image_size, image_size); it can be pickled."""
    codes = {"shape": [shape_code(name) for name in values["shape"]]}
    lookup = {name: torch.tensor(codes.get(name, levels)) for name, levels in values.items()}
    return partial(_render, lookup=lookup, image_size=image_size, device=device)


def _render(positions: Tensor, lookup: dict[str, Tensor], image_size: int, device: str | torch.device) -> Tensor:
    index = torch.unravel_index(positions, [len(levels) for levels in lookup.values()])
    chosen = {name: levels[i] for (name, levels), i in zip(lookup.items(), index, strict=True)}
    return draw_sprites(**chosen, image_size=image_size, device=device)


def _table(values: Mapping[str, Sequence], positions: Tensor, title: str, attrs: Mapping[str, int]) -> xr.Dataset:
    """Level indices of the factors that vary; those that do not become attributes ``constant_<name>``."""
    indices = np.unravel_index(positions.numpy(), [len(v) for v in values.values()])
    factors = {
        name: factor(index, values[name], **_DESCRIPTIONS[name])
        for name, index in zip(values, indices, strict=True)
        if len(values[name]) > 1
    }
    constants = {f"constant_{name}": value[0] for name, value in values.items() if len(value) == 1}
    return xr.Dataset(factors, attrs={"title": f"{title}, one coloured shape on black", **attrs, **constants})
