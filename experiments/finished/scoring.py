"""How probable images are under a finished run's pair, and how unusual that is among its training images."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from pyro import poutine
from torch import nn

from ppvae import TwoViewVAE, UserError, log_marginal, read_posterior, write_posterior
from ppvae.datasets import ImageDataset
from ppvae.pair.program import Data

from ..weights import weights_checksum

__all__ = ["TRAINING", "anomaly", "as_table", "image_scores", "training_scores", "write_scores_alone"]

logger = logging.getLogger(__name__)

TRAINING = "training_scores.zarr"
IMAGES = 500  # training images that others are ranked among


def image_scores(
    model: nn.Module, guide: nn.Module, data: ImageDataset | Data, draws: int, seed: int, batch_size: int
) -> xr.Dataset:
    """log p(x) as :func:`~ppvae.log_marginal` has it, of the images alone where the model is of a view of them, too."""
    program = poutine.block(model, hide=["x_shuffled"]) if isinstance(model, TwoViewVAE) else model
    return log_marginal(program, guide, data, draws, batch_size=batch_size, seed=seed)


def training_scores(
    folder: Path,
    model: nn.Module,
    guide: nn.Module,
    images: Callable[[int], Data],
    draws: int,
    seed: int,
    batch_size: int,
) -> xr.Dataset:
    """Those of the run's first training images with as many draws, kept in ``training_scores.zarr`` for the next time.

    ``images``: so many of them, as the programs are called. What is kept of other draws, or of a pair that has been
    trained further since, is measured anew.
    Errors: :class:`~ppvae.UserError` where neither scores nor images were kept.
    """
    made = {"num_samples": draws, "weights": weights_checksum(model, guide)}
    kept = folder / TRAINING
    if (kept / "zarr.json").is_file():
        found = read_posterior(kept).to_dataset().load()
        if "log_marginal" in found and all(found.attrs.get(name) == value for name, value in made.items()):
            return found
    logger.info("log p(x) of training images, %d at most, among which others are ranked", IMAGES)
    found = image_scores(model, guide, images(IMAGES), draws, seed, batch_size).assign_attrs(made)
    with suppress(UserError):  # a folder that others may only read
        write_posterior(xr.DataTree(found), kept)
    return found


def write_scores_alone(folder: Path, target: Path) -> None:
    """What :func:`training_scores` kept, without which image has which: log p(x), sorted, where there are any."""
    if (folder / TRAINING / "zarr.json").is_file():
        kept = read_posterior(folder / TRAINING).to_dataset()
        scores = {"log_marginal": ("image", np.sort(kept["log_marginal"].values))}
        made = {name: kept.attrs[name] for name in ("num_samples", "weights")}
        write_posterior(xr.DataTree(xr.Dataset(scores, attrs=made)), target / TRAINING)


def anomaly(log_p: np.ndarray, training: np.ndarray) -> np.ndarray:
    """The share of training images that are more probable, in [0, 1], equal ones by half: 0.99 is rarer than 99 %."""
    ordered = np.sort(training)
    below, up_to = (np.searchsorted(ordered, log_p, side) for side in ("left", "right"))
    return 1 - (below + up_to) / (2 * len(ordered))


def as_table(found: xr.Dataset, training: xr.Dataset, index: pd.DataFrame) -> pd.DataFrame:
    """A row an image: ``log_marginal``, ``elbo``, ``effective_samples``, ``pareto_k`` and ``anomaly``."""
    scores = {name: found[name].values for name in ("log_marginal", "elbo", "effective_samples", "pareto_k")}
    scores["anomaly"] = anomaly(scores["log_marginal"], training["log_marginal"].values)
    return index.assign(**scores)
