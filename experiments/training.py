"""Train what a configuration describes, measure it, and keep everything in one directory."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ppvae import UserError, write_posterior
from ppvae.files import replace_atomically
from ppvae.pair.untouched import unit_of

from .assemble import Parts, assemble
from .code_table import write_codes
from .configuration_files import load_configuration
from .evaluation import Evaluation, evaluate
from .fitting import fit_configured
from .labels import labelled
from .launched import end_here
from .meanings import metric_names
from .rehearsal import Follow, rehearse
from .row_figures import keep_columns
from .selecting import SELECTED, check_selection, numbers_of_selection, selected

__all__ = [
    "TRAINED",
    "check_same_configuration",
    "keep_configuration",
    "latents_table",
    "share_cores",
    "told",
    "train",
    "train_and_evaluate",
]

RUNNING = (
    "trainer.progress",
    "trainer.compile",
    "trainer.execution",
    "trainer.accelerator",
    "trainer.devices",
    "resume",
    "name",
    "allow",
)
FREE = (
    *RUNNING,
    "trainer.epochs",
    "trainer.stopping",
    "trainer.learning_rate",
    "trainer.save_",
    "posterior",
    "diagnosis",
    "information",
    "imputation",
    "job",
)  # what a resumed run may change
CONFIGURATIONS = Path(__file__).parent / "conf"
TRAINED = {"epochs": "epochs", "seconds": "training time (s)"}  # what is told of any training


@labelled(lambda noun: metric_names(noun) | {"parameters": "parameters"} | TRAINED | SELECTED)
def train_and_evaluate(
    configuration: DictConfig,
    directory: Path,
    *,
    resume: bool,
    follow: Follow | None = None,
    measure: Callable[[Parts, DictConfig], Mapping[str, float]] | None = None,
) -> tuple[Parts, xr.Dataset, Evaluation]:
    """Train, evaluate and write ``config.yaml``, ``checkpoint.pt``, ``history.csv`` (and ``.zarr``),
    ``posterior.zarr``, ``held_out.zarr`` where wanted, ``latents.csv``, ``codes.csv`` and ``metrics.json`` into
    ``directory``.

    With ``select=path`` the pair that is trained is the one that the path in ``directory``/path keeps.

    Whatever comes after the training is rehearsed before it, with ``follow``, what the caller does then. ``measure``:
    further numbers of the trained parts for ``metrics.json``.
    """
    parts = assemble(configuration)
    rehearse(parts, configuration, follow)
    check_selection(parts, configuration)
    keep_configuration(configuration, directory)
    parts = selected(parts, configuration, directory)
    history = train(parts, configuration, directory, epochs=configuration.trainer.epochs, resume=resume)
    end_here()
    evaluation = evaluate(parts, configuration)
    write_posterior(xr.DataTree(history), directory / "history.zarr")
    write_posterior(evaluation.tree, directory / "posterior.zarr")
    if evaluation.held_out is not None:
        write_posterior(xr.DataTree(evaluation.held_out), directory / "held_out.zarr")
    keep_columns(parts.data, directory)
    table = latents_table(evaluation)
    replace_atomically(directory / "latents.csv", lambda path: table.to_csv(path))
    write_codes(parts, configuration, directory)
    metrics = {"data": parts.data.description, "units": unit_of(parts.model), **evaluation.metrics}
    metrics |= (
        {"parameters": _parameters(parts)}
        | told(history)
        | numbers_of_selection(directory)
        | ({} if measure is None else dict(measure(parts, configuration)))
    )
    metrics = {name: value if _json_has(value) else None for name, value in metrics.items()}
    replace_atomically(directory / "metrics.json", lambda path: path.write_text(json.dumps(metrics, indent=1)))
    return parts, history, evaluation


def latents_table(evaluation: Evaluation) -> pd.DataFrame:
    """A row a latent, under its number; of several codes under the code's name and its number."""
    tables = {site: latents.to_dataframe() for site, latents in evaluation.latents.items()}
    return next(iter(tables.values())) if len(tables) == 1 else pd.concat(tables, names=["site"])


def told(history: xr.Dataset) -> dict[str, float]:
    """How long a training was."""
    return {"epochs": history.sizes["epoch"], "seconds": float(history["seconds"].sum())}


def _parameters(parts: Parts) -> int:
    """Trained numbers of the pair, those of shared networks once."""
    return sum(parameter.numel() for parameter in nn.ModuleList([parts.model, parts.guide]).parameters())


def _json_has(value: Any) -> bool:
    """JSON has neither NaN nor infinity."""
    return not isinstance(value, float) or math.isfinite(value)


def train(parts: Parts, configuration: DictConfig, directory: Path, *, epochs: int, resume: bool) -> xr.Dataset:
    """Train up to ``epochs`` as the configuration says, with its ``config.yaml`` and checkpoints in ``directory``."""
    keep_configuration(configuration, directory)
    return fit_configured(parts.model, parts.guide, parts, configuration, directory, epochs=epochs, resume=resume)


def keep_configuration(configuration: DictConfig, directory: Path) -> None:
    """``config.yaml`` in ``directory``; UserError where another run's is there."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a CUDA toolkit without a GPU is no news
    check_same_configuration(configuration, directory)
    replace_atomically(directory / "config.yaml", lambda path: OmegaConf.save(configuration, path))


def check_same_configuration(configuration: DictConfig, directory: Path, may_change: tuple[str, ...] = FREE) -> None:
    """UserError where the run in ``directory`` was made by another configuration; nothing if there is none."""
    path = directory / "config.yaml"
    if not path.is_file():
        return
    earlier = OmegaConf.create(
        {"validation": None, "select": None, "recipe": OmegaConf.load(CONFIGURATIONS / "recipe" / "adam.yaml")}
    )
    made = load_configuration(path, configuration, to_build=False)
    stored = OmegaConf.merge(earlier, made)  # of a version that had none of these
    then, now = (_flat(OmegaConf.to_container(c, resolve=True)) for c in (stored, configuration))
    for key in sorted(then.keys() | now.keys()):
        derived = key.endswith(("image_shape", "maps"))  # filled in from the data and the likelihood, as levels may be
        derived = derived or (key.endswith(".levels") and None in (then.get(key), now.get(key)))
        if then.get(key) != now.get(key) and not derived and not key.startswith(may_change):
            raise UserError(
                f"{directory} was made with {key}={then.get(key)}, now it is {now.get(key)}; "
                "give the same to resume, or start a new run"
            )


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    if not isinstance(node, dict):
        return {prefix.removesuffix("."): node}
    return {key: value for name, child in node.items() for key, value in _flat(child, f"{prefix}{name}.").items()}


def share_cores(workers: int, cores: int) -> None:
    """Give this process its share of the cores, and no more threads than it has."""
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores // workers)))
