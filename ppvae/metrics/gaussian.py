"""How far a Gaussian with the codes' covariance is from one with independent latents of the same variances."""

import numpy as np
import xarray as xr

from ppvae.errors import UserError
from ppvae.metrics.covariance import empirical_covariance

__all__ = ["gaussian_total_correlation", "wasserstein_correlation"]


def gaussian_total_correlation(codes: xr.DataArray) -> xr.DataArray:
    """Total correlation KL(N(0, Σ) ‖ N(0, diag Σ)) of the codes' covariance Σ, in nats: 0 where no two covary.

    ½(Σ_k ln Σ_kk − ln|Σ|). Takes what ``empirical_covariance`` takes; returns a scalar, or the further dims. Invariant
    to each latent's scale. A constant latent is independent of all others and adds nothing; infinite where a latent is
    a linear combination of others. N samples of K independent latents give about K(K − 1)/4N, not 0; it cannot see
    dependence without correlation.
    Errors: :class:`~ppvae.errors.UserError` as ``empirical_covariance`` does.
    Source: Locatello et al., ICML 2019, "Gaussian total correlation".
    """
    result = xr.apply_ufunc(
        _total_correlation, empirical_covariance(codes), input_core_dims=[["latent", "latent_"]], vectorize=True
    )
    return result.rename("gaussian_total_correlation").assign_attrs(
        long_name="total correlation of a Gaussian with the codes' covariance", units="nats"
    )


def wasserstein_correlation(codes: xr.DataArray, *, normalised: bool = False) -> xr.DataArray:
    """Squared 2-Wasserstein distance between N(0, Σ) and N(0, D), D = diag Σ, of the codes' covariance Σ.

    2 tr Σ − 2 tr (D^½ Σ D^½)^½, in the codes' unit squared; over tr Σ, without a unit, where ``normalised``. Takes what
    ``empirical_covariance`` takes; returns a scalar, or the further dims. Large latents weigh more: rescaling one
    latent changes both forms, rescaling all of them only the first; constant latents add nothing. It cannot see
    dependence without correlation.
    Errors: :class:`~ppvae.errors.UserError` as ``empirical_covariance`` does and, normalised, where no latent varies.
    Source: Locatello et al., ICML 2019, "Gaussian Wasserstein correlation" and its "norm".
    """
    covariance = empirical_covariance(codes)
    variance = xr.apply_ufunc(_trace, covariance, input_core_dims=[["latent", "latent_"]])
    if normalised and not bool((variance > 0).all()):
        raise UserError(
            "codes do not vary over the images; expected a latent with variance: all latents have collapsed"
        )
    distance = xr.apply_ufunc(_distance, covariance, input_core_dims=[["latent", "latent_"]])
    result = distance / variance if normalised else distance
    return result.rename("wasserstein_correlation").assign_attrs(
        long_name="squared Wasserstein distance from independent latents" + " over the variance" * normalised,
        units="1" if normalised else "codes squared",
    )


def _total_correlation(covariance: np.ndarray) -> float:
    varying = np.flatnonzero(covariance.diagonal() > 0)
    scale = np.sqrt(covariance.diagonal()[varying])
    # of unit variances: no digits are lost to latents of unlike scales
    roots = np.linalg.eigvalsh(covariance[np.ix_(varying, varying)] / np.outer(scale, scale))
    if (roots <= len(roots) * np.finfo(roots.dtype).eps).any():
        return np.inf
    return max(-0.5 * float(np.log(roots).sum()), 0.0)


def _trace(covariance: np.ndarray) -> np.ndarray:
    return np.trace(covariance, axis1=-2, axis2=-1)


def _distance(covariance: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    product = scale[..., :, None] * covariance * scale[..., None, :]
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(product), 0, None))
    return np.maximum(2 * _trace(covariance) - 2 * roots.sum(-1), 0)
