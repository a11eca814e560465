"""What causal networks read of pixels: colour or grey, and which of them are there."""

import torch

from ppvae.errors import UserError

__all__ = ["LUMA", "maps_read", "pixels_read"]

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


def pixels_read(image: torch.Tensor, seen: torch.Tensor | None = None, *, grey: bool = False) -> torch.Tensor:
    """Pixels (n, C, h, w) as values, zero where ``seen`` is, and a one for each that is there."""
    if grey:
        image = sum(share * channel for share, channel in zip(LUMA, image.split(1, 1), strict=True))
    if seen is None:
        return torch.cat([image, torch.ones_like(image[:, :1])], 1)
    return torch.cat([image * seen, seen], 1)


def maps_read(channels: int, *, grey: bool) -> int:
    """How many maps :func:`pixels_read` gives; UserError for grey values of what is no RGB."""
    if grey and channels != 3:
        raise UserError(f"grey={grey}: images have {channels} channels; expected red, green and blue")
    return 2 if grey else channels + 1
