"""Metrics on the empirical covariance of the inferred latents (Jouffroy et al., NGVAE, Fig. 4 and Table I)."""

from typing import Literal, get_args

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["decorrelation", "empirical_covariance", "entropy", "scaled_covariance"]

Reading = Literal["mean", "literal"]

OBSERVATION_DIMS = ("chain", "draw", "sample", "image")


def empirical_covariance(codes: xr.DataArray) -> xr.DataArray:
    """Covariance Σ of the codes over a data set, unbiased.

    ``codes`` is (image, latent), the means of q(z|x), or (chain, draw, image, latent), samples z ~ q(z|x). All draws of
    all images are stacked: Σ then is the covariance of the aggregate posterior, and more draws only lower its noise.
    Any further dim (a seed, a model) is kept. Returns (…, latent, latent_), in the codes' unit squared.
    Samples and means differ: a collapsed latent has the prior's variance among samples and none among means.
    Errors: :class:`~ppvae.errors.UserError` for codes without those dims, for one observation and for codes that are
    not finite.
    """
    dims = _observation_dims(codes)
    # float64 and centred: the covariance of 10 000 float32 codes far from zero would lose its digits
    centred = codes.astype(np.float64)
    centred = centred - centred.mean(dims, skipna=False)
    size = int(np.prod([codes.sizes[dim] for dim in dims]))
    covariance = xr.dot(centred, centred.rename(latent="latent_"), dim=dims) / (size - 1)
    covariance = covariance.transpose(..., "latent", "latent_").rename("covariance")
    return covariance.assign_attrs(long_name="empirical covariance of the codes", units="codes squared")


def scaled_covariance(codes: xr.DataArray) -> xr.DataArray:
    """Covariance of the codes over its largest absolute entry, as the NGVAE paper draws it (Fig. 4).

    Takes what ``empirical_covariance`` takes; returns (…, latent, latent_) in [-1, 1], signs kept.
    Errors: :class:`~ppvae.errors.UserError` where no latent varies.
    """
    covariance = _varying(empirical_covariance(codes))
    scaled = covariance / abs(covariance).max(["latent", "latent_"])
    return scaled.rename("scaled_covariance").assign_attrs(
        long_name="covariance scaled to a largest entry of 1", units="1"
    )


def entropy(codes: xr.DataArray) -> xr.DataArray:
    """Entropy of the shares of the total variance that each latent holds.

    H = -Σ_k π_k ln π_k, π_k = Σ_kk / tr Σ, in nats: 0 where one latent holds it all (and for one latent), ln K where
    all hold the same; a latent without variance adds nothing. Invariant to the codes' scale.
    The paper gives neither the unit nor the codes: its values fit nats and samples z ~ q(z|x), (chain, draw, image,
    latent); report the means' too. Takes what ``empirical_covariance`` takes; returns a scalar, or the further dims.
    Errors: :class:`~ppvae.errors.UserError` where no latent varies.
    Source: Jouffroy et al., NGVAE, Section IV, Table I, "entropy".
    """
    covariance = _varying(empirical_covariance(codes))
    result = xr.apply_ufunc(_entropy, covariance, input_core_dims=[["latent", "latent_"]])
    return result.rename("entropy").assign_attrs(long_name="entropy of the latents' variances", units="nats")


def decorrelation(codes: xr.DataArray, reading: Reading = "mean") -> xr.DataArray:
    """Ratio between the trace of the codes' covariance and its off-diagonal entries, larger for less correlated codes.

    ``mean``: (K - 1) tr Σ / Σ_{i≠j} |Σ_ij|, the mean variance over the mean absolute covariance. ``literal``: tr Σ /
    Σ_{i≠j} |Σ_ij|, the paper's sentence to the letter; its Table I would then need correlations of 0.006, below the
    sampling noise, so ``mean`` is the default. Without a unit, invariant to the codes' scale; infinite where no two
    latents covary. Takes what ``empirical_covariance`` takes; returns a scalar, or the further dims.
    Errors: :class:`~ppvae.errors.UserError` for one latent, where no latent varies, and for another reading.
    Source: Jouffroy et al., NGVAE, Section IV, Table I, "decorrelation".
    """
    if reading not in get_args(Reading):
        raise UserError(f"reading={reading!r} is unknown; choose one of {', '.join(get_args(Reading))}")
    covariance = _varying(empirical_covariance(codes))
    if covariance.sizes["latent"] < 2:
        raise UserError("decorrelation came with 1 latent and needs at least two; leave it out for this model")
    ratio = xr.apply_ufunc(_trace_ratio, covariance, input_core_dims=[["latent", "latent_"]])
    result = ratio * (covariance.sizes["latent"] - 1) if reading == "mean" else ratio
    return result.rename("decorrelation").assign_attrs(
        long_name="decorrelation of the latents", units="1", reading=reading
    )


def _entropy(covariance: np.ndarray) -> np.ndarray:
    variances = np.diagonal(covariance, axis1=-2, axis2=-1)
    shares = variances / variances.sum(-1, keepdims=True)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)  # 0 ln 0 = 0
    return np.abs(-(shares * logarithms).sum(-1))  # abs: no -0.0 where one latent holds all


def _trace_ratio(covariance: np.ndarray) -> np.ndarray:
    trace = np.trace(covariance, axis1=-2, axis2=-1)
    entries = np.abs(covariance)
    off_diagonal = (entries * ~np.eye(covariance.shape[-1], dtype=bool)).sum((-2, -1))
    return np.divide(trace, off_diagonal, out=np.full_like(trace, np.inf), where=off_diagonal > 0)


def _observation_dims(codes: xr.DataArray) -> list[str]:
    if not isinstance(codes, xr.DataArray) or not {"image", "latent"} <= set(codes.dims):
        found = codes.dims if isinstance(codes, xr.DataArray) else type(codes).__name__
        raise UserError(f"codes came as {found}; expected a DataArray with dims image and latent: name its dims so")
    dims = [dim for dim in OBSERVATION_DIMS if dim in codes.dims]
    if any(codes.sizes[dim] == 0 for dim in codes.dims) or all(codes.sizes[dim] == 1 for dim in dims):
        raise UserError(
            f"codes came with sizes {dict(codes.sizes)}; a covariance needs a latent and two images: give more"
        )
    if not bool(np.isfinite(codes).all()):
        count = int((~np.isfinite(codes)).sum())
        raise UserError(f"codes hold {count} values that are not finite; expected numbers: look for a diverged run")
    return dims


def _varying(covariance: xr.DataArray) -> xr.DataArray:
    variances = covariance.values.diagonal(axis1=-2, axis2=-1)
    if not (variances.sum(-1) > 0).all():
        raise UserError(
            "codes do not vary over the images; expected a latent with variance: all latents have collapsed"
        )
    return covariance
