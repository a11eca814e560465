"""The table ``codes.csv``: each image's file, labels and code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from omegaconf import DictConfig
from torch import nn

from guides import SemiSupervisedNormal
from ppvae import from_pyro_svi
from ppvae.datasets import ImageDataset
from ppvae.files import replace_atomically
from ppvae.models import UNKNOWN
from ppvae.pair.untouched import device_of
from ppvae.plots.labels import latent_names

from .assemble import Parts
from .codes import code_deviations, mean_codes
from .some_labels import label_of, named

__all__ = ["code_table", "encoded", "named_labels", "write_codes"]


def write_codes(parts: Parts, configuration: DictConfig, directory: Path) -> None:
    """Write ``codes.csv``, where the configuration wants codes."""
    wanted = configuration.get("codes")  # none in a run before there were any
    if wanted is not None and wanted.images:
        labels = configuration.get("labels")
        table = code_table(parts, wanted.images, configuration.posterior.batch_size, configuration.seed, labels)
        replace_atomically(directory / "codes.csv", lambda path: table.to_csv(path, float_format="%.7g"))


def code_table(parts: Parts, images: int, batch_size: int, seed: int, labels: DictConfig | None = None) -> pd.DataFrame:
    """A row an image, under its number in the data set: what is known of it, and of each latent q(z | x)'s mean and
    standard deviation, ``z0`` and ``z0_std``; of a feature map the means of its entries'.

    Columns before: ``part`` (train or validation), ``file`` where there are files, and the factors by their values; of
    ``labels`` known for some also ``known_label``, which of them the pair was told, the label that its classifier names
    and how probable that is, ``named_label`` and ``named_probability``. So many ``images`` at most, those of the
    training first.
    """
    held = {"train": parts.data} | ({} if parts.validation is None else {"validation": parts.validation})
    tables: list[pd.DataFrame] = []
    for part, data in held.items():
        left = images - sum(map(len, tables))
        if left > 0:
            first = data.subset(slice(left))
            known = _known(first, part).assign(**({} if labels is None else _labels(parts, first, batch_size, labels)))
            codes = encoded(parts.model, parts.guide, first, batch_size, seed)
            tables.append(known.join(codes, validate="1:1"))
    table = pd.concat(tables)
    return table.sort_index() if table.index.is_unique else table


def _known(data: ImageDataset, part: str) -> pd.DataFrame:
    """Part, file and factors (image)."""
    table = data.table
    columns = {"part": part} | ({} if data.files is None else {"file": data.files})
    columns |= {str(name): _named(factor) for name, factor in table.data_vars.items()}
    return pd.DataFrame(columns, index=pd.Index(table["image"].values, name="image"))


def _labels(parts: Parts, data: ImageDataset, batch_size: int, labels: DictConfig) -> dict[str, np.ndarray]:
    """Which labels the pair was told, and what its classifier says of each image."""
    (known,) = data.inputs.values()
    told = {f"known_{labels.factor}": (known != UNKNOWN).numpy()}
    values = label_of(data, labels).attrs["values"]
    return told | named_labels(parts.guide, data, labels.factor, values, batch_size)


def named_labels(
    guide: nn.Module, data: ImageDataset, factor: str, values: Sequence[Any], batch_size: int
) -> dict[str, np.ndarray]:
    """The most probable of the label's ``values`` under q(y | x), of the image alone, and how probable it is."""
    probabilities = named(cast(SemiSupervisedNormal, guide).classify, data, batch_size, device_of(guide))
    return {
        f"named_{factor}": np.array(values)[probabilities.argmax(-1).numpy()],
        "named_probability": probabilities.amax(-1).numpy(),
    }


def _named(factor: xr.DataArray) -> np.ndarray:
    """The levels' names or numbers in place of their indices."""
    return np.array(factor.attrs["values"])[factor.values] if "levels" in factor.attrs else factor.values


def encoded(model: nn.Module, guide: nn.Module, data: ImageDataset, batch_size: int, seed: int) -> pd.DataFrame:
    """Means and standard deviations of each latent, a row an image; the decoder does not run."""
    kept: dict[str, Any] = dict.fromkeys(("prior", "log_likelihood", "observed_data"), False)
    tree = from_pyro_svi(model, guide, data, 1, **kept, sites=[], moments=True, batch_size=batch_size, seed=seed)
    means, deviations = mean_codes(tree), code_deviations(tree)
    names = latent_names(means)
    columns = dict(zip(names, means.values.T, strict=True))
    columns |= {f"{name}_std": values for name, values in zip(names, deviations.values.T, strict=True)}
    return pd.DataFrame(columns, index=data.table["image"].values)
