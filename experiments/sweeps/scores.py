"""A member's work: its job, then the disentanglement metrics that the sweep asks for."""

from pathlib import Path

import xarray as xr
from omegaconf import DictConfig

from ppvae import UserError, read_posterior
from ppvae.metrics import DISENTANGLEMENT_METRICS

from ..codes import mean_codes
from ..command import run_job
from .task import Scores, own_configuration

__all__ = ["train_and_score"]


def train_and_score(configuration: DictConfig, directory: Path) -> None:
    """The job, from its checkpoint where there is one and not at all where it is over, then the scores missing."""
    scores, wanted = Scores.of(directory), configuration.sweep
    if scores is None:
        own = own_configuration(configuration)
        own.resume = str(directory) if (directory / "checkpoint.pt").is_file() else None
        run_job(own, directory)
    if scores is None or scores.preset != wanted.preset:
        scores = Scores(wanted.preset)
    scores.keep(directory)
    missing = [metric for metric in wanted.metrics if metric not in scores.asked]
    found = {
        metric: _score(metric, configuration, directory) for metric in missing if metric in DISENTANGLEMENT_METRICS
    }
    Scores(
        wanted.preset,
        [*scores.asked, *missing],
        scores.values | {metric: value for metric, (value, _) in found.items()},
        scores.why | {metric: why for metric, (_, why) in found.items() if why},
    ).keep(directory)


def _score(metric: str, configuration: DictConfig, directory: Path) -> tuple[float | None, str]:
    """The metric on the mean codes of the stored posterior; or None, and why."""
    if not (directory / "posterior.zarr").is_dir():
        return None, "no posterior was stored"
    tree = read_posterior(directory / "posterior.zarr")
    factors = tree["constant_data"].to_dataset().load() if "constant_data" in tree.children else xr.Dataset()
    if len(factors.data_vars) < 2:
        return None, "the data have no factors"
    options = {"preset": configuration.sweep.preset, "seed": configuration.seed}
    try:
        return float(DISENTANGLEMENT_METRICS[metric](mean_codes(tree), factors, **options)["score"]), ""
    except UserError as error:  # too few images for it
        return None, str(error)
