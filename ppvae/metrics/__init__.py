"""Metrics of codes: the NGVAE paper's covariance metrics and the β-VAE disentanglement metric."""

from ppvae.metrics.covariance import decorrelation, empirical_covariance, entropy, scaled_covariance
from ppvae.metrics.disentanglement import BETA_VAE_PRESETS, BetaVAEPreset, beta_vae_metric

__all__ = [
    "BETA_VAE_PRESETS",
    "BetaVAEPreset",
    "beta_vae_metric",
    "decorrelation",
    "empirical_covariance",
    "entropy",
    "scaled_covariance",
]
