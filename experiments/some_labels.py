"""A label that some images have: what the pair is told of it, and how well its classifier names it."""

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from omegaconf import DictConfig

from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.models import UNKNOWN

__all__ = ["accuracy", "label_of", "named", "repeated", "told", "untold"]


def label_of(data: ImageDataset, labels: DictConfig) -> xr.DataArray:
    """The level of each image that the group ``labels`` means, (image,), :data:`~ppvae.models.UNKNOWN` where it has
    none, with ``levels`` and ``values`` of those that name one.

    Errors: :class:`~ppvae.UserError` for no such factor, a continuous one, or one of a single level.
    """
    factors, name = data.factors, labels.factor
    if factors is None or name not in factors:
        there = "none" if factors is None else ", ".join(map(str, factors.data_vars))
        raise UserError(f"labels.factor={name}: expected a factor of these images, of which there are {there}")
    if "levels" not in factors[name].attrs:
        raise UserError(f"labels.factor={name}: a continuous factor, expected one of levels")
    values = list(factors[name].attrs["values"])
    index = factors[name].values.astype(np.int64)
    if labels.unknown in values:
        without = values.index(labels.unknown)
        index = np.where(index == without, UNKNOWN, index - (index > without))
        values.pop(without)
    if len(values) < 2:
        raise UserError(f"labels.factor={name}: its levels are {values}, expected two or more that name one")
    return xr.DataArray(index, dims="image", attrs={"levels": len(values), "values": values})


def told(data: ImageDataset, labels: DictConfig, seed: int) -> ImageDataset:
    """With the labels that the pair is told beside the images, ``known`` of them, as many of each level.

    Errors: :class:`~ppvae.UserError` for a number that is none, fewer than levels, or more than the images have.
    """
    label = label_of(data, labels)
    return _with(data, labels, label.values if labels.known is None else _some(label, labels, seed))


def untold(data: ImageDataset, labels: DictConfig) -> ImageDataset:
    """With no label known, so that the bound is of log p(x): for images held apart."""
    return _with(data, labels, np.full(len(data), UNKNOWN))


def _with(data: ImageDataset, labels: DictConfig, index: np.ndarray) -> ImageDataset:
    return data.with_inputs(**{f"known_{labels.factor}": index})


def _some(label: xr.DataArray, labels: DictConfig, seed: int) -> np.ndarray:
    """The label of so many images, drawn by the seed, UNKNOWN of all others."""
    levels, values = label.attrs["levels"], label.attrs["values"]
    check_whole("labels.known", labels.known, levels)
    generator = np.random.default_rng(seed)
    found = np.full(label.shape, UNKNOWN)
    for level, value in enumerate(values):
        wanted = labels.known // levels + (level < labels.known % levels)
        having = np.flatnonzero(label.values == level)
        if len(having) < wanted:
            raise UserError(
                f"labels.known={labels.known} takes {wanted} images of each level, and {labels.factor}={value} has "
                f"{len(having)}; give fewer, or null for all"
            )
        found[generator.permutation(having)[:wanted]] = level
    return found


def repeated(data: ImageDataset, labels: DictConfig) -> ImageDataset:
    """What an epoch visits: each image, and the labelled ones again, in turn, until they are ``share`` of all.

    Without it a batch seldom holds one of a hundred labelled images of many thousand, and the classifier's term is of
    those alone. Errors: :class:`~ppvae.UserError` for a share that is none, or no labelled image.
    """
    (known,) = data.inputs.values()
    labelled = torch.nonzero(known != UNKNOWN)[:, 0]
    if not len(labelled):
        raise UserError(f"labels.factor={labels.factor}: no image of the training has one; give labels, or labels=null")
    if labels.share is None:
        return data
    if not (isinstance(labels.share, float) and 0 < labels.share < 1):
        raise UserError(f"labels.share={labels.share}: expected a share between 0 and 1 of an epoch's images, or null")
    again = int((labels.share * len(data) - len(labelled)) / (1 - labels.share))
    if again <= 0:
        return data
    turns = labelled.repeat(again // len(labelled) + 1)[:again]
    return data.subset(torch.cat([torch.arange(len(data)), turns]))


def named(
    classify: Callable[[torch.Tensor], torch.Tensor], data: ImageDataset, batch_size: int, device: torch.device
) -> torch.Tensor:
    """What ``classify`` says of each image's levels, (image, level), so many images at a time."""
    parts = torch.arange(len(data)).split(batch_size)
    with torch.no_grad():
        return torch.cat([classify(data.observed(part).to(device)).cpu() for part in parts])


def accuracy(probabilities: torch.Tensor, label: xr.DataArray) -> xr.Dataset:
    """How often the most probable level is the label, :func:`label_of`'s: ``counts`` (label, named) and their
    ``score``, of the images that have one; NaN of none."""
    having, levels = label.values != UNKNOWN, label.attrs["levels"]
    counts = np.zeros((levels, levels), dtype=np.int64)
    np.add.at(counts, (label.values[having], probabilities.argmax(-1).numpy()[having]), 1)
    values = [str(value) for value in label.attrs["values"]]
    score = np.trace(counts) / counts.sum() if counts.any() else np.nan
    return xr.Dataset({"counts": (("label", "named"), counts), "score": score}, {"label": values, "named": values})
