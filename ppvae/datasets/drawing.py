"""Anti-aliased sprites from signed distances, many at a time, on any device."""

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ppvae.errors import UserError, check_whole

__all__ = ["REACH", "SHAPES", "draw_sprites", "hue_to_rgb", "shape_code"]

SHAPES = ("square", "disc", "triangle", "heart")
"""Names of the shapes; their place is the code that ``draw_sprites`` takes."""

REACH = math.sqrt(math.pi / math.sqrt(3) / 3)
"""Farthest point of any shape from its centre, in apparent diameters: the triangle's corner."""

_CHUNK_PIXELS = {"cpu": 2**17}
_HEART_AREA = 1 / 2 + math.pi / 8
_HEART_CENTRE = (7 / 24 + 3 * math.pi / 32) / _HEART_AREA


def draw_sprites(
    hue: Any, shape: Any, x: Any, y: Any, depth: Any, *, image_size: int = 64, device: str | torch.device = "cpu"
) -> Tensor:
    """Draw one coloured shape an image on black: uint8 (n, 3, image_size, image_size), channels red, green, blue.

    ``hue`` in turns (0 red, 1/3 green), at full saturation and value; ``shape`` a name of ``SHAPES`` or its place
    there; ``x``, ``y`` the centroid in pixels from the left and top edges; ``depth`` the apparent diameter in pixels:
    that of the disc of equal area, so every shape of one depth covers π depth² / 4 pixels. Scalars or (n,), broadcast.
    A pixel's coverage is clamp(1/2 - d, 0, 1), d the signed distance of its centre to the edge: from 10 pixels up the
    covered area is within 1 % of the exact one, the heart's within 2 %.
    Errors: :class:`~ppvae.errors.UserError` for an unknown shape, values that are not finite, a depth that is not
    positive, or arguments that do not broadcast to (n,).
    Source: Inigo Quilez, "2D distance functions" (the heart).
    """
    check_whole("image_size", image_size, 1)
    _check_device(device)
    values = _broadcast(
        hue=_floats("hue", hue),
        shape=_codes(shape),
        x=_floats("x", x),
        y=_floats("y", y),
        depth=_floats("depth", depth),
    )
    if values["depth"].numel() and values["depth"].min() <= 0:
        raise UserError(f"depth={values['depth'].min().item():g}: expected a positive apparent diameter in pixels")
    codes = values.pop("shape")
    values = {name: value.to(device) for name, value in values.items()}
    images = torch.empty((len(codes), 3, image_size, image_size), dtype=torch.uint8, device=device)
    step = max(1, _CHUNK_PIXELS.get(images.device.type, 2**24) // image_size**2)
    for code in codes.unique().tolist():
        for chosen in (codes == code).nonzero()[:, 0].to(device).split(step):
            images[chosen] = _draw(_COVERAGE[code], image_size, **{k: v[chosen] for k, v in values.items()})
    return images


def hue_to_rgb(hue: Tensor) -> Tensor:
    """RGB in [0, 1], shape (n, 3), of hues in turns at full saturation and value (the HSV hexagon)."""
    corner = torch.tensor([0.0, 4.0, 2.0], dtype=hue.dtype, device=hue.device)
    return (((hue[:, None] * 6 + corner) % 6 - 3).abs() - 1).clamp(0, 1)


def shape_code(name: str) -> int:
    """Place of a shape in ``SHAPES``; UserError for an unknown name, with its near neighbours."""
    if name not in SHAPES:
        near = difflib.get_close_matches(str(name), SHAPES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown shape {name!r}: {hint}expected one of {', '.join(SHAPES)}")
    return SHAPES.index(name)


def _draw(coverage: Callable[..., Tensor], size: int, hue: Tensor, x: Tensor, y: Tensor, depth: Tensor) -> Tensor:
    """uint8 (n, 3, size, size) of sprites that share one shape."""
    centres = torch.arange(size, dtype=x.dtype, device=x.device) + 0.5
    u = centres[None, None, :] - x[:, None, None]
    v = centres[None, :, None] - y[:, None, None]
    colour = hue_to_rgb(hue)[:, :, None, None] * 255
    return (coverage(u, v, depth[:, None, None])[:, None] * colour).add_(0.5).to(torch.uint8)


def _inside(distance: Tensor) -> Tensor:
    """Share of a pixel within an edge at a signed distance (negative inside) from its centre."""
    return distance.neg_().add_(0.5).clamp_(0, 1)


def _square(u: Tensor, v: Tensor, depth: Tensor) -> Tensor:
    half = depth * (math.sqrt(math.pi) / 4)
    return _inside(u.abs() - half) * _inside(v.abs() - half)


def _disc(u: Tensor, v: Tensor, depth: Tensor) -> Tensor:
    return _inside((u * u + v * v).sqrt_().sub_(depth / 2))


def _triangle(u: Tensor, v: Tensor, depth: Tensor) -> Tensor:
    """Equilateral, one corner up: within the base and both slopes, each an inradius from the centroid."""
    inradius = depth * (REACH / 2)
    slopes = u.abs() * (math.sqrt(3) / 2) - (v / 2 + inradius)
    return _inside(slopes).mul_(_inside(v - inradius))


def _heart(u: Tensor, v: Tensor, depth: Tensor) -> Tensor:
    """A square on its corner with half a disc on each upper side; ``unit`` is the square's diagonal."""
    unit = depth * math.sqrt(math.pi / 4 / _HEART_AREA)
    across, up = u.abs(), unit * _HEART_CENTRE - v
    lobe = ((across - unit / 4).square() + (up - unit * 0.75).square()).sqrt_().sub_(unit * (math.sqrt(2) / 4))
    point = (across - up).mul_(math.sqrt(0.5))
    return _inside(torch.where(across + up > unit, lobe, point))


_COVERAGE = (_square, _disc, _triangle, _heart)


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device={str(device)!r} cannot be used ({reason}); expected 'cpu' or a device at hand"
        ) from None


def _floats(name: str, value: Any) -> Tensor:
    tensor = torch.as_tensor(value, dtype=torch.float32)
    if not tensor.isfinite().all():
        raise UserError(f"{name} holds NaN or infinite values: expected finite numbers")
    return tensor


def _codes(shape: Any) -> Tensor:
    """int64 places in SHAPES, on the CPU, from names or places."""
    if isinstance(shape, str):
        return torch.tensor(shape_code(shape))
    if isinstance(shape, Sequence) and any(isinstance(name, str) for name in shape):
        return torch.tensor([shape_code(name) for name in shape])
    codes = torch.as_tensor(shape).cpu()
    if codes.is_floating_point() or (codes.numel() and not 0 <= codes.min() <= codes.max() < len(SHAPES)):
        raise UserError(f"shape codes of {codes.dtype} or outside 0..{len(SHAPES) - 1}: expected places in {SHAPES}")
    return codes.to(torch.int64)


def _broadcast(**values: Tensor) -> dict[str, Tensor]:
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if any(len(shape) > 1 for shape in shapes.values()) or len({s for s in shapes.values() if s not in ((), (1,))}) > 1:
        raise UserError(f"sprites of shapes {shapes}: expected numbers or arrays of one length (n,)")
    length = max((shape[0] for shape in shapes.values() if shape), default=1)
    if (0,) in shapes.values():
        length = 0
    return {name: value.expand(length) for name, value in values.items()}
