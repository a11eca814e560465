"""Numbers that say how an image looks, for checks of what a model draws."""

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["STATISTICS", "image_statistics"]

STATISTICS = {
    "intensity": "mean of the pixels",
    "contrast": "standard deviation of the pixels",
    "dark": "share of pixels in the lowest quarter of the range",
    "bright": "share of pixels in the highest quarter of the range",
    "roughness": "mean absolute step between neighbouring pixels (total variation)",
}
PIXELS = ("channel", "row", "column")


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
    pixels = images.transpose(..., *PIXELS).astype(np.float64)
    low, high = (float(pixels.min()), float(pixels.max())) if pixel_range is None else pixel_range
    quarter, seen = (high - low) / 4, pixels.notnull()
    found = {
        "intensity": pixels.mean(PIXELS),
        "contrast": pixels.std(PIXELS),
        "dark": (pixels <= low + quarter).where(seen).mean(PIXELS),
        "bright": (pixels >= high - quarter).where(seen).mean(PIXELS),
        "roughness": _roughness(pixels),
    }
    for name, array in found.items():
        array.attrs = {"long_name": STATISTICS[name], "units": "1" if name in ("dark", "bright") else "pixel units"}
    return xr.Dataset(found)


def _roughness(pixels: xr.DataArray) -> xr.DataArray:
    steps = [np.abs(pixels.diff(dim)) for dim in ("row", "column")]
    pairs = sum(step.notnull().sum(PIXELS) for step in steps)
    return sum(step.sum(PIXELS) for step in steps) / np.maximum(pairs, 1)
