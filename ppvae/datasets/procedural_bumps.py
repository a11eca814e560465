"""Bumps on a line: the smallest images that one factor moves and no linear code describes."""

from typing import Any

import numpy as np
import torch
import xarray as xr

from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.errors import check_positive, check_whole

__all__ = ["bumps"]


def bumps(
    size: int = 4096,
    seed: int = 0,
    *,
    pixels: int = 32,
    width: float = 2.0,
    levels: int = 256,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
) -> ImageDataset:
    """Images of one row, (size, 1, 1, pixels), of a bump exp(−(i − x)²/2 width²), its centre x drawn at random.

    The one factor ``x`` has so many levels, the mid-points of equal steps between two widths from either end; levels
    are drawn with replacement. ``binarise``, ``dequantise`` as in ``Conversion``.
    Errors: :class:`~ppvae.errors.UserError` for sizes or a width that are not positive, and for fewer pixels than five
    widths.
    """
    for name, count in (("size", size), ("levels", levels)):
        check_whole(name, count, 1)
    check_whole("seed", seed, 0)
    check_positive("width", width)
    check_whole("pixels", pixels, int(np.ceil(5 * width)))
    low, high = 2 * width, pixels - 1 - 2 * width
    centres = low + (high - low) * (np.arange(levels) + 0.5) / levels
    index = torch.randint(levels, (size,), generator=torch.Generator().manual_seed(seed)).numpy()
    heights = np.exp(-0.5 * ((np.arange(pixels) - centres[index, None]) / width) ** 2)
    images = torch.from_numpy(np.rint(255 * heights).astype(np.uint8))[:, None, None]
    x = factor(index, centres.tolist(), long_name="centre from the left edge", units="pixel")
    attrs: dict[str, Any] = {"title": f"{size} bumps on a line", "seed": seed, "pixels": pixels, "width": width}
    return ImageDataset(images, xr.Dataset({"x": x}, attrs=attrs), "bumps", binarise=binarise, dequantise=dequantise)
