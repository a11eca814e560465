"""Checks of a model/guide pair, its data and its objective before anything is run in earnest."""

from ppvae.checks.data import check_data, check_given, check_images, check_kind
from ppvae.checks.pair import check_pair
from ppvae.checks.runs import check_sites, folded
from ppvae.checks.sites import check_observed, check_whole_plates

__all__ = [
    "check_data",
    "check_given",
    "check_images",
    "check_kind",
    "check_observed",
    "check_pair",
    "check_sites",
    "check_whole_plates",
    "folded",
]
