"""How well single latents stand for the known factors of the data: DCI and MIG of the mean codes."""

import logging
from typing import NamedTuple

import xarray as xr

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError
from ppvae.metrics import dci_metric, mig_metric

from .codes import mean_codes
from .evaluation import Evaluation

__all__ = ["FactorScores", "factor_scores"]

logger = logging.getLogger(__name__)


class FactorScores(NamedTuple):
    """What ``dci_metric`` and ``mig_metric`` say, preset quick."""

    dci: xr.Dataset
    mig: xr.Dataset

    def rows(self) -> dict[str, float]:
        """The scores by the names of their rows."""
        return {
            "DCI, disentanglement": float(self.dci["score"]),
            "DCI, completeness": float(self.dci["mean_completeness"]),
            "DCI, informativeness": float(self.dci["mean_informativeness"]),
            "MIG": float(self.mig["score"]),
        }


def factor_scores(evaluation: Evaluation, data: ImageDataset, seed: int) -> FactorScores | None:
    """DCI and MIG where the data have factors enough; None, logged, where they have not."""
    if data.factors is None:
        return None
    factors = evaluation.tree["constant_data"].to_dataset()[list(data.factors.data_vars)]  # no inputs
    if len(factors.data_vars) < 2:  # a label alone
        return None
    codes = mean_codes(evaluation.tree)
    try:
        return FactorScores(*(score(codes, factors, preset="quick", seed=seed) for score in (dci_metric, mig_metric)))
    except UserError as error:
        logger.warning("no DCI and no MIG: %s", error)
        return None
