"""How far the codes of a data set are from the prior N(0, I), by their first two moments."""

import numpy as np
import xarray as xr

from ppvae.metrics.covariance import OBSERVATION_DIMS, empirical_covariance

__all__ = ["moment_kl"]


def moment_kl(codes: xr.DataArray) -> xr.DataArray:
    """KL(N(m, Σ) ‖ N(0, I)) with the mean m and the covariance Σ of the codes, in nats: zero where both match.

    ½(tr Σ + mᵀm − K − log|Σ|). Of samples z ~ q(z|x) this compares the aggregate posterior with a standard normal
    prior; means of collapsed latents have no variance, and their KL is infinite. Takes what ``empirical_covariance``
    takes; returns a scalar, or the further dims.
    Errors: :class:`~ppvae.errors.UserError` as ``empirical_covariance`` does.
    """
    covariance = empirical_covariance(codes)
    mean = codes.astype(np.float64).mean([dim for dim in OBSERVATION_DIMS if dim in codes.dims])
    result = xr.apply_ufunc(_kl, mean, covariance, input_core_dims=[["latent"], ["latent", "latent_"]])
    return result.rename("moment_kl").assign_attrs(long_name="KL of the codes' moments from N(0, I)", units="nats")


def _kl(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    sign, log_determinant = np.linalg.slogdet(covariance)
    log_determinant = np.where(sign > 0, log_determinant, -np.inf)
    trace = np.trace(covariance, axis1=-2, axis2=-1)
    return 0.5 * (trace + (mean**2).sum(-1) - mean.shape[-1] - log_determinant)
