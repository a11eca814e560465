"""Metrics of codes: covariance, distance from the prior, neighbours, dependence, disentanglement, clusters."""

from .aggregate import moment_kl
from .beta_vae import BETA_VAE_PRESETS, BetaVAEPreset, beta_vae_metric
from .clustering import adjusted_rand_index, clustering_accuracy, normalised_mutual_information
from .covariance import decorrelation, empirical_covariance, entropy, scaled_covariance
from .dci import DCI_TREES, dci_metric
from .disentanglement import DISENTANGLEMENT_METRICS
from .factor_vae import FACTOR_VAE_PRESETS, FactorVAEPreset, factor_vae_metric
from .gaussian import gaussian_total_correlation, wasserstein_correlation
from .intervals import score_interval
from .mig import mig_metric
from .modularity_explicitness import explicitness, modularity
from .mutual_information import (
    BINNED_PRESETS,
    BinnedPreset,
    factor_shares,
    latent_information,
    mean_latent_information,
)
from .neighbours import knn_accuracy, knn_explained
from .presets import SPLIT_PRESETS, SplitPreset
from .sap import sap_metric

__all__ = [
    "BETA_VAE_PRESETS",
    "BINNED_PRESETS",
    "DCI_TREES",
    "DISENTANGLEMENT_METRICS",
    "FACTOR_VAE_PRESETS",
    "SPLIT_PRESETS",
    "BetaVAEPreset",
    "BinnedPreset",
    "FactorVAEPreset",
    "SplitPreset",
    "adjusted_rand_index",
    "beta_vae_metric",
    "clustering_accuracy",
    "dci_metric",
    "decorrelation",
    "empirical_covariance",
    "entropy",
    "explicitness",
    "factor_shares",
    "factor_vae_metric",
    "gaussian_total_correlation",
    "knn_accuracy",
    "knn_explained",
    "latent_information",
    "mean_latent_information",
    "mig_metric",
    "modularity",
    "moment_kl",
    "normalised_mutual_information",
    "sap_metric",
    "scaled_covariance",
    "score_interval",
    "wasserstein_correlation",
]
