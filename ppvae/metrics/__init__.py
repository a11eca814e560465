"""Metrics of codes: their covariance, their distance from the prior, what neighbours tell, disentanglement."""

from ppvae.metrics.aggregate import moment_kl
from ppvae.metrics.covariance import decorrelation, empirical_covariance, entropy, scaled_covariance
from ppvae.metrics.disentanglement import BETA_VAE_PRESETS, BetaVAEPreset, beta_vae_metric
from ppvae.metrics.neighbours import knn_accuracy, knn_explained

__all__ = [
    "BETA_VAE_PRESETS",
    "BetaVAEPreset",
    "beta_vae_metric",
    "decorrelation",
    "empirical_covariance",
    "entropy",
    "knn_accuracy",
    "knn_explained",
    "moment_kl",
    "scaled_covariance",
]
