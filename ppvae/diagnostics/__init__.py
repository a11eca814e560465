"""Diagnostics of a fitted pair: which latents carry information, and where its inference can be trusted."""

from ppvae.diagnostics.appearance import image_statistics
from ppvae.diagnostics.diagnosis import diagnose, verdicts
from ppvae.diagnostics.latents import count_informative, informative_latents
from ppvae.diagnostics.pareto import good_pareto_k, pareto_smooth, psis_log_weights
from ppvae.diagnostics.predictive import predictive_checks, prior_predictive_checks
from ppvae.diagnostics.rank_tests import calibration_tests
from ppvae.diagnostics.weights import importance

__all__ = [
    "calibration_tests",
    "count_informative",
    "diagnose",
    "good_pareto_k",
    "image_statistics",
    "importance",
    "informative_latents",
    "pareto_smooth",
    "predictive_checks",
    "prior_predictive_checks",
    "psis_log_weights",
    "verdicts",
]
