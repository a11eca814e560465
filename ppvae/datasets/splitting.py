"""Images held apart from a training."""

from numbers import Real

import torch
from torch import Tensor

from ppvae.errors import UserError, check_whole

__all__ = ["held_apart"]


def held_apart(images: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Positions (n,) int64, ascending, of the images that stay and of a ``share`` of them drawn by ``seed``.

    Both hold at least one image.
    Errors: :class:`~ppvae.errors.UserError` for a share outside (0, 1), or fewer than two images.
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1:
        raise UserError(f"validation={share!r}: expected a share of the images between 0 and 1, such as 0.1")
    check_whole("seed", seed, 0)
    if images < 2:
        raise UserError(f"validation={share:g} of {images} images leaves none to train on; give more, or no validation")
    count = min(max(1, round(share * images)), images - 1)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed % 2**63))
    return order[count:].sort().values, order[:count].sort().values
