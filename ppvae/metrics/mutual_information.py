"""Mutual information of binned codes: with factors, and between latents."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr

from ppvae.errors import check_whole
from ppvae.metrics.inputs import code_values, factor_levels, latent_coordinate, matched_levels, paired_images

__all__ = [
    "BINNED_PRESETS",
    "BinnedPreset",
    "binned",
    "factor_shares",
    "information",
    "latent_information",
    "level_entropy",
    "mean_latent_information",
]


@dataclass(frozen=True)
class BinnedPreset:
    """The numbers of a metric on binned codes: equal-width bins a latent, and the most images it looks at."""

    bins: int
    images: int


BINNED_PRESETS: Mapping[str, BinnedPreset] = MappingProxyType(
    {"locatello": BinnedPreset(bins=20, images=10_000), "quick": BinnedPreset(bins=20, images=2_000)}
)


@dataclass(frozen=True)
class Information:
    """Mutual information (factor, latent) and the factors' entropies (factor), in nats, and the images they are of."""

    table: xr.DataArray
    entropy: np.ndarray
    images: int


def information(codes: xr.DataArray, factors: xr.Dataset, numbers: BinnedPreset, seed: int) -> Information:
    """Plug-in mutual information between each factor and each binned latent, on a random subset of the images.

    Plug-in values of independent columns are not 0: near (bins − 1)(levels − 1) / 2N nats.
    """
    values = code_values(codes, least_latents=2)
    levels = matched_levels(codes, factors)
    if len(values) > numbers.images:
        subset = np.random.default_rng(seed).permutation(len(values))[: numbers.images]
        values, levels = values[subset], {name: array[subset] for name, array in levels.items()}
    columns = binned(values, numbers.bins)
    indices = [np.unique(array, return_inverse=True)[1] for array in levels.values()]
    table = np.array([[_plug_in(index, column) for column in columns.T] for index in indices])
    labelled = xr.DataArray(
        table,
        dims=("factor", "latent"),
        coords={"factor": list(levels)} | latent_coordinate(codes),
        attrs={"long_name": "mutual information of factor and binned latent", "units": "nats"},
    )
    return Information(labelled, np.array([level_entropy(index) for index in indices]), len(values))


def factor_shares(codes: xr.DataArray, factors: xr.Dataset, *, bins: int = 20) -> xr.DataArray:
    """I(z; v) / H(v) of each factor and latent, (factor, latent): the share of the factor's entropy that it tells.

    codes (image, latent), in so many bins of equal width over each latent's range; factors are levels, continuous ones
    binned as the metrics do. One factor and one latent are enough. NaN for a factor that does not change in these
    images. Of independent columns it is not 0 but near (bins − 1)(levels − 1) / 2N nats over the entropy.
    UserError for codes of other dims, and factors of other images.
    """
    check_whole("bins", bins, 2)
    columns = binned(code_values(codes), bins)
    known = paired_images(codes, factors, "codes", "factors")
    levels = [factor_levels(name, factor) for name, factor in known.data_vars.items()]
    indices = [np.unique(array, return_inverse=True)[1] for array in levels]
    told = np.array([[_plug_in(index, column) for column in columns.T] for index in indices])
    entropy = np.array([level_entropy(index) for index in indices])[:, None]
    return xr.DataArray(
        np.divide(told, entropy, out=np.full_like(told, np.nan), where=entropy > 0),
        dims=("factor", "latent"),
        coords={"factor": [str(name) for name in known.data_vars]} | latent_coordinate(codes),
        name="share",
        attrs={"long_name": "share of the factor's entropy that the latent tells", "units": "1"},
    )


def mean_latent_information(codes: xr.DataArray, *, bins: int = 20) -> xr.DataArray:
    """Mean mutual information between two latents, over all pairs i ≠ j: Σ_{i≠j} I(z_i; z_j) / K(K − 1), in nats.

    codes (image, latent), each latent in so many bins of equal width over its range: invariant to each latent's scale,
    shift and sign. A constant latent adds nothing and counts among the K, so collapsed latents lower the mean; the
    plug-in value of independent latents is near (bins − 1)² / 2N, 0.018 nats for 20 bins and 10 000 images, not 0.
    Takes all the images given.
    Errors: :class:`~ppvae.errors.UserError` as the other metrics do, for one latent and for fewer than two bins.
    Source: Locatello et al., ICML 2019, "mutual information score".
    """
    table = latent_information(codes, bins=bins)
    off_diagonal = table.values[~np.eye(len(table), dtype=bool)]
    attrs = {"long_name": "mean mutual information between latents", "units": "nats", "bins": bins}
    return xr.DataArray(float(off_diagonal.mean()), name="mean_latent_information", attrs=attrs)


def latent_information(codes: xr.DataArray, *, bins: int = 20) -> xr.DataArray:
    """Plug-in mutual information (latent, latent_) of the binned latents, in nats; on the diagonal their entropies.

    Takes and raises what ``mean_latent_information`` does.
    """
    check_whole("bins", bins, 2)
    columns = binned(code_values(codes, least_latents=2), bins)
    table = np.array([[_plug_in(one, other) for one in columns.T] for other in columns.T])
    attrs = {"long_name": "mutual information of two binned latents", "units": "nats", "bins": bins}
    return xr.DataArray(
        table, dims=("latent", "latent_"), coords=latent_coordinate(codes), name="latent_information", attrs=attrs
    )


def binned(codes: np.ndarray, bins: int) -> np.ndarray:
    """The bin (image, latent) of each code among equal-width bins over its latent's range; a constant is in bin 0."""
    values = codes.astype(np.float64)
    low, width = values.min(0), np.ptp(values, axis=0)
    share = np.divide(values - low, width, out=np.zeros_like(values), where=width > 0)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def level_entropy(index: np.ndarray) -> float:
    """Entropy of the empirical distribution of whole numbers from 0, in nats."""
    return _entropy(np.bincount(index))


def _plug_in(first: np.ndarray, second: np.ndarray) -> float:
    """I = H(first) + H(second) − H(first, second) of the counts; at least 0, which rounding may miss."""
    joint = np.bincount(first * (second.max() + 1) + second)
    return max(level_entropy(first) + level_entropy(second) - _entropy(joint), 0.0)


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
