"""torchvision's transforms, by name."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.opening import NotAsAsked
from ppvae.errors import UserError, one_line

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["check_not_random", "named_transforms", "transformed"]

type Transform = Callable[[Tensor], Tensor]


def named_transforms(given: Sequence[object]) -> tuple[Transform, ...]:
    """Transforms in order: each a name of ``torchvision.transforms.v2``, ``{name: {option: value}}``, or a callable.

    A callable maps a picture (channels, rows, columns) to another; it is pickled where pictures are read by worker
    processes.
    Errors: :class:`~ppvae.errors.UserError` for a name that there is not and for options that the transform refuses.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise UserError(f"transforms={given!r}: expected a list, such as [Grayscale, {{CenterCrop: {{size: 48}}}}]")
    return tuple(one if callable(one) else _named(one) for one in given)


def transformed(bands: list["Image.Image"], transforms: tuple[Transform, ...], *, real: bool) -> list["Image.Image"]:
    """The image, or its channels, after the transforms; NotAsAsked where these leave no picture of the same kind."""
    if not transforms:
        return bands
    from PIL import Image

    arrays = [np.array(band) for band in bands]
    picture = torch.from_numpy(np.stack(arrays) if real else np.moveaxis(np.atleast_3d(arrays[0]), -1, 0).copy())
    before = len(picture), picture.dtype
    for transform in transforms:
        picture = transform(picture)
    if not isinstance(picture, Tensor) or picture.ndim != 3 or (len(picture), picture.dtype) != before:
        came = f"{picture.dtype} {tuple(picture.shape)}" if isinstance(picture, Tensor) else type(picture).__name__
        raise NotAsAsked(f"the transforms make {came} of it, expected {before[1]} ({before[0]}, rows, columns)")
    planes = picture.numpy()
    if real:
        return [Image.fromarray(plane) for plane in np.ascontiguousarray(planes)]
    return [Image.fromarray(np.ascontiguousarray(planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1)))]


def check_not_random(transforms: tuple[Transform, ...], read: Callable[[], object]) -> None:
    """UserError where reading a picture draws random numbers: the same picture would be another at each look."""
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        read()
        if torch.equal(before, torch.get_rng_state()):
            return
    names = ", ".join(getattr(one, "__name__", type(one).__name__) for one in transforms)
    raise UserError(f"transforms {names} draw random numbers, so that no picture stays the same; leave those out")


def _named(one: object) -> Transform:
    from torchvision.transforms import v2

    name, options = next(iter(one.items())) if isinstance(one, Mapping) and len(one) == 1 else (one, {})
    classes = {key: value for key, value in vars(v2).items() if isinstance(value, type)}
    known = [key for key, value in classes.items() if issubclass(value, v2.Transform) and value is not v2.Transform]
    if name not in known:
        near = get_close_matches(str(name), known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "give a class of torchvision.transforms.v2"
        raise UserError(f"transforms has {name!r}, expected a name, or {{name: {{option: value}}}}: {hint}")
    try:
        return getattr(v2, name)(**{} if options is None else options)
    except Exception as error:
        raise UserError(f"the transform {name} does not take {options!r} ({one_line(error)})") from None
