"""Whole trainings on the device: the main job, recipes, where batches come from, and a run that moves."""

import math
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import xarray as xr
from torch import nn

from ppvae import fit
from ppvae.datasets import ImageDataset
from ppvae.datasets.images import RenderedImages
from ppvae.svi import Recipe, batches

from .sizes import Sizes
from .trial import Found, Unit

__all__ = ["TOLERANCE", "batch_units", "main_job_units", "moving_units", "recipe_units"]

TOLERANCE = 0.1
"""Of a run's first loss: how far an epoch's loss may be off where the CPU's noise is replaced by the device's."""

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "average 0.99": {"average": 0.99},
    "clip_norm": {"clip_norm": 1e4},
    "clip_value": {"clip_value": 1e3},
    "skip": {"skip_norm": math.inf},
    "cosine with warm-up": {"schedule": "cosine", "warmup": 10},
    "two parts a step": {"accumulate": 2},
    "adamw": {"optimizer": "adamw"},
    "adamax": {"optimizer": "adamax"},
    "sgd": {"optimizer": "sgd", "learning_rate": 1e-7, "options": {"momentum": 0.9}},
    "average, bf16": {"average": 0.99, "precision": "bf16"},
}


def _fitted(sizes: Sizes, pair: tuple[nn.Module, nn.Module], data: Any, accelerator: str, **options: Any) -> xr.Dataset:
    """The history of a training; RuntimeError where its loss is not finite."""
    given: dict[str, Any] = {
        "epochs": sizes.epochs,
        "batch_size": sizes.setups["conv"].batch_size,
        "execution": "captured",
    }
    history = fit(*pair, data, accelerator=accelerator, progress=False, **(given | options))
    if not bool(history["loss"].notnull().all()):
        raise RuntimeError(f"the loss is not finite: {history['loss'].values}")
    return history


def _speed(history: xr.Dataset) -> float:
    """Images a second of the last epoch."""
    return float(history["images_per_second"][-1])


def main_job_units(sizes: Sizes, accelerator: str) -> Iterator[Unit]:
    """The NGVAE on sprites with the convolutional network, each way that a step runs."""

    def measure(way: str) -> Iterator[Found]:
        history = _fitted(sizes, sizes.pair(), sizes.data(), accelerator, execution=way)
        first, last = (float(history["loss"][epoch]) for epoch in (0, -1))
        note = f"steps ran {history.attrs['execution']}; {sizes.epochs} epochs of {sizes.images} images"
        yield Found(f"{way}: speed", _speed(history), "images/s", note=note)
        yield Found(f"{way}: loss of the last epoch", last, "nats/image", first, "over the first epoch's; finite")

    for way in ("captured", "compiled", "eager") if sizes.compiled else ("captured",):
        yield Unit(way, partial(measure, way))


def recipe_units(sizes: Sizes, accelerator: str) -> Iterator[Unit]:
    """Each option of a recipe, with a share of the images held apart and measured, beside the plain one."""
    plain: dict[str, float] = {}

    def measure(name: str) -> Iterator[Found]:
        options = {"recipe": Recipe(**RECIPES[name]), "validation": 0.25, "epochs": min(2, sizes.epochs)}
        history = _fitted(sizes, sizes.pair("VAE"), sizes.data(), accelerator, **options)
        speed, loss = _speed(history), float(history["validation_loss"][-1])
        if not math.isfinite(loss):
            raise RuntimeError(f"the validation's loss is {loss}")
        note = f"skipped {float(history['skipped'].sum()):.0f} steps" if "skipped" in history else ""
        yield Found(f"{name}: speed", speed, "images/s", plain.get("speed"), "over the plain recipe's" if plain else "")
        yield Found(f"{name}: validation's loss", loss, "nats/image", plain.get("loss"), note)
        if name == "plain":
            plain.update(speed=speed, loss=loss)

    for name in RECIPES:
        if name == "plain" or sizes.recipes is None or name in sizes.recipes:
            yield Unit(name, partial(measure, name))


def batch_units(sizes: Sizes, accelerator: str) -> Iterator[Unit]:
    """Images kept on the device, streamed to it from memory, and drawn on demand: the same images, the same loss."""
    kept: dict[str, float] = {}

    def measure(name: str, data: ImageDataset, share: float) -> Iterator[Found]:
        with mock.patch.object(batches, "SHARE", share):
            history = _fitted(sizes, sizes.pair("VAE"), data, accelerator, epochs=2)
        loss, where = float(history["loss"][-1]), "" if accelerator != "cpu" else "all memory is the CPU's"
        yield Found(f"{name}: speed", _speed(history), "images/s", kept.get("speed"), where)
        yield Found(f"{name}: loss", loss, "nats/image", kept.get("loss"))
        if "loss" in kept and not math.isclose(loss, kept["loss"], rel_tol=1e-3):
            raise RuntimeError(f"{name} images end at the loss {loss:g}, resident ones at {kept['loss']:g}")
        kept.setdefault("loss", loss)
        kept.setdefault("speed", _speed(history))

    data = sizes.data()
    stored = data.stored()
    drawn = ImageDataset(RenderedImages(lambda at: stored[at], torch.arange(len(stored)), data.image_shape))
    yield Unit("resident", lambda: measure("resident", data, batches.SHARE))
    yield Unit("streamed", lambda: measure("streamed from pinned memory", data, 0.0))
    yield Unit("drawn", lambda: measure("drawn on demand", drawn, 0.0))


def moving_units(sizes: Sizes, accelerator: str) -> Iterator[Unit]:
    """A run begun on the CPU, resumed on the device, and again on the CPU, beside one that never moved."""
    yield Unit("CPU, device, CPU", lambda: _moving(sizes, accelerator))


def _moving(sizes: Sizes, accelerator: str) -> Iterator[Found]:
    data = sizes.data()
    still = _fitted(sizes, sizes.pair(), data, "cpu", epochs=3)["loss"].values
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for epochs, where in ((1, "cpu"), (2, accelerator), (3, "cpu")):
            pair = sizes.pair()
            history = _fitted(sizes, pair, data, where, epochs=epochs, directory=run, resume=epochs > 1)
        there = sizes.pair()
        _fitted(sizes, there, data, accelerator, epochs=3, directory=run, resume=True)  # nothing left to train
    moved = history["loss"].values
    for epoch, (one, other) in enumerate(zip(moved, still, strict=True), 1):
        where = "device" if epoch == 2 else "CPU"
        yield Found(f"loss of epoch {epoch}, on the {where}", float(one), "nats/image", float(other))
    worst = max(abs(moved - still)) / abs(still[0])
    yield Found("largest difference over the first loss", float(worst), "", note=f"at most {TOLERANCE}")
    states = [{**model.state_dict(), **guide.state_dict(prefix="guide.")} for model, guide in (pair, there)]
    apart = [name for name, value in states[0].items() if not torch.equal(value.cpu(), states[1][name].cpu())]
    yield Found("parameters that a checkpoint of the CPU changes on the device", len(apart), "")
    if apart or not worst <= TOLERANCE or moved[0] != still[0]:
        raise RuntimeError(f"the run that moved is another: difference {worst:.2g}, {len(apart)} parameters changed")
