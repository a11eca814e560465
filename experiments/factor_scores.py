"""How well single latents stand for the known factors of the data: DCI and MIG of the mean codes."""

import logging
from typing import NamedTuple

import xarray as xr

from ppvae.errors import UserError
from ppvae.metrics import dci_metric, mig_metric

__all__ = ["FactorScores", "factor_scores"]

logger = logging.getLogger(__name__)


class FactorScores(NamedTuple):
    """What ``dci_metric`` and ``mig_metric`` say, preset quick."""

    dci: xr.Dataset
    mig: xr.Dataset

    def metrics(self) -> dict[str, float]:
        """The scores by their names in ``metrics.json``."""
        return {
            "dci": float(self.dci["score"]),
            "dci_completeness": float(self.dci["mean_completeness"]),
            "dci_informativeness": float(self.dci["mean_informativeness"]),
            "mig": float(self.mig["score"]),
        }


def factor_scores(codes: xr.DataArray, factors: xr.Dataset | None, seed: int) -> FactorScores | None:
    """DCI and MIG of codes (image, latent) where there are two factors or more; None, logged, of too few images."""
    if factors is None or len(factors.data_vars) < 2:  # a label alone
        return None
    try:
        return FactorScores(*(score(codes, factors, preset="quick", seed=seed) for score in (dci_metric, mig_metric)))
    except UserError as error:
        logger.warning("no DCI and no MIG: %s", error)
        return None
