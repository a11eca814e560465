"""A pair trained, or its path followed, as a configuration's trainer says."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr
from omegaconf import DictConfig
from torch import nn

from ppvae import Objective, fit, path, read_posterior, write_posterior
from ppvae.files import replace_atomically
from ppvae.svi import Recipe

from .assemble import Parts

__all__ = ["fit_configured", "follow_path"]


def fit_configured(
    model: nn.Module,
    guide: nn.Module,
    parts: Parts,
    configuration: DictConfig,
    directory: Path,
    *,
    epochs: int,
    resume: bool,
    recipe: Recipe | None = None,
) -> xr.Dataset:
    """Train a pair on the parts' data and objective with the configuration's trainer, checkpoints in ``directory``.

    A run that was ended before its first checkpoint begins anew.
    """
    options = _of_trainer(parts, configuration, directory, resume=resume) | ({"recipe": recipe} if recipe else {})
    images = parts.data if parts.repeated is None else parts.repeated
    return fit(model, guide, images, parts.objective, epochs=epochs, validation=parts.validation, **options)


def follow_path(
    parts: Parts,
    configuration: DictConfig,
    directory: Path,
    settings: Mapping[str, Any],
    objective: Objective | None = None,
    *,
    resume: bool,
) -> xr.Dataset:
    """The latent path of the parts' pair with :func:`~ppvae.path`'s own ``settings``, the trainer's and the
    ``objective``, kept in ``directory`` with ``path.zarr`` and ``path.csv``; a path that is whole there is read.

    The attribute ``seconds`` is how long it took.
    """
    whole = directory / "path.zarr"
    if resume and whole.exists():
        return read_posterior(whole).to_dataset().load()
    begun = time.perf_counter()
    options = _of_trainer(parts, configuration, directory, resume=resume) | dict(settings)
    options["recipe"] = replace(parts.recipe, stopping=None)  # it ends where its weights do
    found = path(parts.model, parts.guide, parts.data, objective, **options)
    found = found.assign_attrs(seconds=time.perf_counter() - begun)
    by_level = found.drop_dims("factor", errors="ignore").to_dataframe()
    replace_atomically(directory / "path.csv", lambda file: by_level.to_csv(file))
    write_posterior(xr.DataTree(found), whole)
    return found


def _of_trainer(parts: Parts, configuration: DictConfig, directory: Path, *, resume: bool) -> dict[str, Any]:
    """The arguments of :func:`~ppvae.fit` that the recipe, the trainer and the folder say."""
    trainer = configuration.trainer
    return {
        "batch_size": trainer.batch_size,
        "recipe": parts.recipe,
        "seed": configuration.seed,
        "execution": trainer.get("execution", "auto"),
        "compile": trainer.compile,
        "accelerator": trainer.accelerator,
        "devices": trainer.devices,
        "directory": directory,
        "resume": resume and (directory / "checkpoint.pt").exists(),
        "save_steps": trainer.get("save_steps"),
        "save_minutes": trainer.get("save_minutes"),
        "progress": trainer.progress,
    }
