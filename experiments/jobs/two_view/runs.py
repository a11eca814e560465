"""One trained two-view pair and the test images that it is measured on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import xarray as xr
from omegaconf import DictConfig
from pyro import poutine

from ppvae import TwoViewVAE, UserError, check_pair, log_marginal, write_posterior
from ppvae.datasets import ImageDataset
from ppvae.files import replace_atomically
from ppvae.pair.untouched import unit_of

from ...assemble import Parts, assemble, held_out
from ...meanings import metric_names
from ...training import TRAINED, told, train

__all__ = [
    "BOUNDS",
    "RATES",
    "TRAINED_PAIR",
    "TwoViewRun",
    "bounds",
    "checked",
    "draws_measured",
    "last_epoch",
    "train_pair",
    "write_metrics",
]

TRAINING = 1000  # images measured where no test split is wanted,
DRAWS = 64  # each by as many, at most
BOUNDS = {
    "test_negative_elbo_both": "−ELBO of images and their views, at least −log p(x, x̂) (nats)",
    "test_nll_both": "−log p(x, x̂) of images and their views, by several draws (nats)",
    "test_negative_elbo_image": "−ELBO of the images alone, at least −log p(x) (nats)",
    "test_nll_image": "−log p(x) of the images alone, by several draws (nats)",
}
RATES = {
    "kl_z_global": "KL of z_global (nats)",
    "kl_z_local": "KL of z_local (nats)",
    "kl_cluster": "KL of cluster (nats)",
}
LAST = {name: metric_names()[name] for name in ("elbo", "rate", "distortion")} | RATES  # of the last epoch
TRAINED_PAIR = LAST | BOUNDS | TRAINED  # what every job tells of a pair of two views


@dataclass(frozen=True)
class TwoViewRun:
    """What was trained, how it went, and the images that it is measured on."""

    parts: Parts
    history: xr.Dataset
    test: ImageDataset  # or training images, where there is no test split

    @property
    def model(self) -> TwoViewVAE:
        """The parts' own."""
        return cast(TwoViewVAE, self.parts.model)


def checked(configuration: DictConfig, *, test_split: bool = True) -> tuple[Parts, ImageDataset]:
    """The parts of a two-view run and its test images; UserError, before any training, where something is amiss.

    ``test_split``: whether it takes one; else, where held_out.images=0, the first training images stand for them.
    """
    if test_split and configuration.held_out.images == 0:
        raise UserError("held_out.images=0: labels are held against test images; give held_out.images=1000")
    parts = assemble(configuration)
    if not isinstance(parts.model, TwoViewVAE):
        raise UserError("two codes take auxiliary=shuffle, or grey, blur or none; the model is of one view")
    check_pair(parts.model, parts.guide, parts.data.observed(slice(2)), parts.objective)
    return parts, held_out(configuration) or parts.data.subset(slice(TRAINING))


def train_pair(
    parts: Parts, test: ImageDataset, configuration: DictConfig, directory: Path, *, resume: bool
) -> TwoViewRun:
    """Train as configured, with ``config.yaml``, checkpoint and history in ``directory``."""
    history = train(parts, configuration, directory, epochs=configuration.trainer.epochs, resume=resume)
    write_posterior(xr.DataTree(history), directory / "history.zarr")
    return TwoViewRun(parts, history, test)


def bounds(run: TwoViewRun, configuration: DictConfig) -> dict[str, float]:
    """−log p of the images measured, nats: of image and view together where there is a view, and of the image alone.

    With x alone the view is side randomness of the guide. The ELBO, and the bound of :func:`draws_measured`.
    """
    model, guide, wanted = run.parts.model, run.parts.guide, configuration.held_out
    options = {"batch_size": wanted.batch_size, "seed": configuration.seed, "progress": configuration.trainer.progress}
    programs = {"image": poutine.block(model, hide=["x_shuffled"])}
    if model.transformation is not None:
        programs["both"] = model
    metrics = {}
    for name, program in programs.items():
        found = log_marginal(program, guide, run.test, draws_measured(configuration), **options)
        metrics[f"test_negative_elbo_{name}"] = -float(found["elbo"].mean())
        metrics[f"test_nll_{name}"] = -float(found["log_marginal"].mean())
    return metrics


def draws_measured(configuration: DictConfig) -> int:
    """How many draws an image is measured by: as test images are, of training images in their place a few."""
    wanted = configuration.held_out
    return wanted.samples if wanted.images else min(DRAWS, wanted.samples)


def last_epoch(history: xr.Dataset) -> dict[str, float]:
    """The training images' bound and its parts, nats."""
    return {name: float(history[name][-1].sum()) for name in LAST if name in history}


def write_metrics(run: TwoViewRun, metrics: dict[str, float], directory: Path) -> None:
    """``metrics.json``, as a study reads it."""
    history = run.history
    written: dict[str, Any] = {"data": run.parts.data.description, "units": unit_of(run.model), **metrics}
    written |= last_epoch(history) | told(history)
    replace_atomically(directory / "metrics.json", lambda path: path.write_text(json.dumps(written, indent=1)))
