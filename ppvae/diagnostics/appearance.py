"""Numbers that say how an image looks, for checks of what a model draws."""

import math

import numpy as np
import xarray as xr

from ppvae.errors import UserError
from ppvae.nouns import Noun

__all__ = ["STATISTICS", "image_statistics", "phrase"]

STATISTICS = {
    "intensity": "mean of the pixels",
    "contrast": "standard deviation of the pixels",
    "dark": "share of pixels in the lowest quarter of the range",
    "bright": "share of pixels in the highest quarter of the range",
    "roughness": "mean absolute step between neighbouring pixels (total variation)",
}
PIXELS = ("channel", "row", "column")


def phrase(statistic: str, noun: Noun) -> str:
    """A statistic in a sentence."""
    return {
        "intensity": "the mean intensity",
        "contrast": "the contrast",
        "dark": f"the share of dark {noun.pixels}",
        "bright": f"the share of bright {noun.pixels}",
        "roughness": "the roughness",
    }[statistic]


def image_statistics(images: xr.DataArray, pixel_range: tuple[float, float] | None = None) -> xr.Dataset:
    """Five statistics of each image: intensity, contrast, dark, bright, roughness; in the pixels' own units.

    ``dark`` and ``bright`` are the shares of pixels at or below the first, at or above the last quarter of
    ``pixel_range``, by default the smallest and the largest pixel here. ``roughness`` is the sum of |differences| of
    neighbours along rows and columns over the number of such pairs: total variation per pair. NaN, a missing pixel, is
    left out.

    images (..., channel, row, column); returns the leading dims.
    Errors: :class:`~ppvae.errors.UserError` without these dims, which the program's site declares by
    ``infer={"event_dims": ["channel", "row", "column"]}``.
    """
    if not isinstance(images, xr.DataArray) or not set(PIXELS) <= set(images.dims):
        found = images.dims if isinstance(images, xr.DataArray) else type(images).__name__
        raise UserError(
            f"images came as {found}; expected a DataArray with dims channel, row and column among others: observe "
            'whole images with infer={"event_dims": ["channel", "row", "column"]}'
        )
    pixels = images.transpose(..., *PIXELS)  # as they are stored: twice as wide they take twice as long to read
    pixels = pixels if pixels.dtype.kind == "f" else pixels.astype(np.float64)
    low, high = (float(pixels.min()), float(pixels.max())) if pixel_range is None else pixel_range
    quarter, seen = np.float64((high - low) / 4), pixels.notnull()
    gaps = not seen.values.all()  # to be passed over, which takes several times as long
    found = {
        "intensity": pixels.mean(PIXELS, skipna=gaps, dtype=np.float64),
        "contrast": pixels.std(PIXELS, skipna=gaps, dtype=np.float64),
        "dark": _share(pixels <= low + quarter, seen if gaps else None),
        "bright": _share(pixels >= high - quarter, seen if gaps else None),
        "roughness": _roughness(pixels, gaps),
    }
    for name, array in found.items():
        array.attrs = {"long_name": STATISTICS[name], "units": "1" if name in ("dark", "bright") else "pixel units"}
    return xr.Dataset(found)


def _share(pixels: xr.DataArray, seen: xr.DataArray | None) -> xr.DataArray:
    """Of those that are so among those that are seen, by default all."""
    return pixels.mean(PIXELS) if seen is None else pixels.where(seen).mean(PIXELS)


def _roughness(pixels: xr.DataArray, gaps: bool) -> xr.DataArray:
    steps = [np.abs(pixels.diff(dim)) for dim in ("row", "column")]
    pairs = sum(step.notnull().sum(PIXELS) if gaps else _count(step) for step in steps)
    return sum(step.sum(PIXELS, skipna=gaps, dtype=np.float64) for step in steps) / np.maximum(pairs, 1)


def _count(pixels: xr.DataArray) -> int:
    """In one image."""
    return math.prod(pixels.sizes[dim] for dim in PIXELS)
