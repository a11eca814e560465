"""What a likelihood asks of its decoder's maps."""

from collections.abc import Callable

import torch
from torch import nn

from ppvae.errors import UserError

__all__ = ["check_maps", "split_maps"]


def check_maps(decoder: nn.Module, needed_for: Callable[[int], int]) -> None:
    """UserError where the decoder says how many maps it draws and ``needed_for(channels)`` is another number."""
    maps, image_shape = getattr(decoder, "maps", None), getattr(decoder, "image_shape", None)
    if maps is None or image_shape is None:
        return
    needed = needed_for(image_shape[0])
    if maps != needed:
        raise UserError(
            f"the decoder gives {maps} maps; the likelihood of images with {image_shape[0]} channels needs {needed}: "
            f"build the decoder with maps={needed}"
        )


def split_maps(maps: torch.Tensor, groups: int) -> torch.Tensor:
    """(..., ``groups``·n, H, W) as (..., ``groups``, n, H, W); UserError for maps that do not divide."""
    if maps.shape[-3] % groups:
        raise UserError(f"the decoder gives {maps.shape[-3]} maps; the likelihood needs a multiple of {groups}")
    return maps.unflatten(-3, (groups, -1))
