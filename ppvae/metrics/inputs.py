"""What a metric is given: codes, the factors of their images, and the checks that both pass."""

from collections.abc import Hashable

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = [
    "FACTOR_BINS",
    "checked_levels",
    "code_values",
    "factor_levels",
    "latent_coordinate",
    "matched_factors",
    "matched_levels",
    "paired_images",
    "said_bins",
]

FACTOR_BINS = 10
"""Levels, of as many images each, that a metric of levels makes of a continuous factor."""


def code_values(codes: xr.DataArray, *, least_latents: int = 1) -> np.ndarray:
    """The codes (image, latent) as they came; UserError for other dims, too few latents and what is not finite."""
    if not isinstance(codes, xr.DataArray) or set(codes.dims) != {"image", "latent"}:
        found = codes.dims if isinstance(codes, xr.DataArray) else type(codes).__name__
        raise UserError(f"codes came as {found}; expected dims (image, latent): take z_mean from sample_stats")
    values = codes.transpose("image", "latent").values
    if values.dtype.kind not in "fiub":
        raise UserError(f"codes came as {values.dtype}; expected real numbers: take z_mean from sample_stats")
    if len(values) < 2 or values.shape[1] < least_latents:
        raise UserError(
            f"codes came with {len(values)} images and {values.shape[1]} latents; "
            f"expected 2 images and {least_latents} latents or more: leave this metric out"
        )
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise UserError(f"codes hold {count} values that are not finite; expected numbers: look for a diverged run")
    return values


def matched_levels(codes: xr.DataArray, factors: xr.Dataset) -> dict[str, np.ndarray]:
    """The levels (image) of each factor in the order of the codes' images, of a continuous one its bins; UserError as
    the metrics say."""
    matched = matched_factors(codes, factors)
    return {str(name): checked_levels(name, factor) for name, factor in matched.items()}


def matched_factors(codes: xr.DataArray, factors: xr.Dataset) -> xr.Dataset:
    """The factors of the codes' images, in the codes' order; UserError for fewer than two and for other images."""
    if not isinstance(factors, xr.Dataset) or len(factors.data_vars) < 2:
        found = list(factors.data_vars) if isinstance(factors, xr.Dataset) else type(factors).__name__
        raise UserError(
            f"factors came as {found}; expected a Dataset of two factors or more: use a data set with factors"
        )
    return paired_images(codes, factors, "codes", "factors")


def paired_images[T: (xr.DataArray, xr.Dataset)](first: xr.DataArray, second: T, one: str, other: str) -> T:
    """``second`` for the images of ``first``: looked up where both name their images, else in the order they came."""
    if "image" in first.indexes and "image" in second.indexes:
        images = second.indexes["image"]
        if not images.is_unique or not first.indexes["image"].isin(images).all():
            raise UserError(
                f"{one} name images that {other} lack or name twice; expected one of each: use one data set"
            )
        second = second.sel(image=first["image"])
    if second.sizes.get("image") != first.sizes["image"]:
        raise UserError(
            f"{other} came with {second.sizes.get('image', 0)} images, {one} with {first.sizes['image']}: "
            f"give the {other} of the images that were encoded"
        )
    return second


def checked_levels(name: Hashable, factor: xr.DataArray) -> np.ndarray:
    """As :func:`factor_levels`; UserError unless there are two or more."""
    levels = factor_levels(name, factor)
    if levels.min() == levels.max():
        raise UserError(f"factor {name!r} has one level in these images; expected two or more: drop it from factors")
    return levels


def factor_levels(name: Hashable, factor: xr.DataArray) -> np.ndarray:
    """The levels (image) of one factor, ``FACTOR_BINS`` bins of floats; UserError for what is neither."""
    if factor.dims != ("image",) or factor.dtype.kind not in "iubf":
        raise UserError(
            f"factor {name!r} came as {factor.dtype} with dims {factor.dims}; expected integer levels or floats "
            "(image): give level indices or drop it"
        )
    return _bins(name, factor.values) if factor.dtype.kind == "f" else np.asarray(factor.values)


def said_bins(factors: xr.Dataset) -> dict[str, str]:
    """For a score's attributes: which factors were continuous and are binned; nothing where none was."""
    names = [str(name) for name, factor in factors.items() if factor.dtype.kind == "f"]
    return {"binned": f"{', '.join(names)}: {FACTOR_BINS} levels of as many images each"} if names else {}


def _bins(name: Hashable, values: np.ndarray) -> np.ndarray:
    """Which of ``FACTOR_BINS`` bins between quantiles each number is in; equal numbers share one."""
    if not np.isfinite(values).all():
        raise UserError(f"factor {name!r} holds values that are not finite; expected numbers: fill in or drop them")
    edges = np.unique(np.quantile(values, np.arange(1, FACTOR_BINS) / FACTOR_BINS))
    return np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]


def latent_coordinate(codes: xr.DataArray) -> dict[str, xr.DataArray]:
    """The codes' own names of the latents, where they have any, as coordinates of a result."""
    return {"latent": codes["latent"]} if "latent" in codes.coords else {}
