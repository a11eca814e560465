"""Diagnostics of a fitted pair: which latents carry information, and where its inference can be trusted."""

from .appearance import image_statistics
from .diagnosis import diagnose, verdicts
from .grades import graded
from .groups import information_by_group, information_by_scale
from .latents import count_informative, informative_latents
from .pareto import good_pareto_k, pareto_smooth, psis_log_weights
from .predictive import predictive_checks, prior_predictive_checks
from .rank_tests import calibration_tests
from .weights import importance

__all__ = [
    "calibration_tests",
    "count_informative",
    "diagnose",
    "good_pareto_k",
    "graded",
    "image_statistics",
    "importance",
    "information_by_group",
    "information_by_scale",
    "informative_latents",
    "pareto_smooth",
    "predictive_checks",
    "prior_predictive_checks",
    "psis_log_weights",
    "verdicts",
]
