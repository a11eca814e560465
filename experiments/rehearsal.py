"""Everything that follows a training, tried before it: nothing then fails after hours."""

import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import xarray as xr
from omegaconf import DictConfig, OmegaConf

from ppvae import fit, write_posterior

from .assemble import Parts
from .code_table import write_codes
from .endings import said_in_one_line
from .evaluation import Evaluation, evaluate

__all__ = ["Follow", "rehearse"]

type Follow = Callable[..., object]  # (parts, history, evaluation, configuration, directory, dpi=)

IMAGES = 2
COARSE = 20  # dots an inch of figures that nobody sees
LEAST = {  # numbers that make what follows quick
    "posterior": {"images": IMAGES, "draws": 2, "ablation_images": IMAGES},
    "information": {"images": IMAGES},
    "diagnosis": {"images": IMAGES, "draws": 2, "simulations": 20},
    "imputation": {"draws": 2},
    "held_out": {"images": IMAGES, "samples": 2},
    "codes": {"images": IMAGES},
    "labels": {"images": IMAGES},
}


def rehearse(parts: Parts, configuration: DictConfig, follow: Follow | None = None) -> None:
    """Train a copy of the pair for a step on two images, measure it and do what ``follow`` will, in a temporary folder.

    Metrics that two images are too few for are left out. The pair, and the random state, stay as they were.
    Errors: :class:`~ppvae.errors.UserError`, one line, for whatever would fail after the training.
    """
    model, guide = copy.deepcopy((parts.model, parts.guide))  # together, as they may share a network
    few = replace(parts, model=model, guide=guide, data=parts.data.subset(slice(IMAGES)))
    small = _small(configuration)
    what = said_in_one_line("what follows the training would fail for this pair")
    with tempfile.TemporaryDirectory() as folder, _unheard(), what:
        evaluation = evaluate(few, small)
        write_posterior(evaluation.tree, Path(folder) / "posterior.zarr")
        write_codes(few, small, Path(folder))
        if follow is not None:
            follow(few, _history(few, configuration), _briefly(evaluation), small, Path(folder), dpi=COARSE)


def _briefly(evaluation: Evaluation) -> Evaluation:
    """With two latents of each code, two steps each, to be drawn."""
    few = {site: path.isel(latent=slice(2), step=[0, -1]) for site, path in evaluation.traversals.items()}
    return replace(evaluation, traversals=few)


def _history(parts: Parts, configuration: DictConfig) -> xr.Dataset:
    """That of one step on the two images."""
    return fit(
        parts.model,
        parts.guide,
        parts.data,
        parts.objective,
        epochs=1,
        batch_size=len(parts.data),
        recipe=replace(parts.recipe, accumulate=1, stopping=None),
        validation=parts.validation.subset(slice(1)) if parts.validation else None,
        seed=configuration.seed,
        compile=False,
        accelerator=configuration.trainer.accelerator,
        devices=1,
        progress=False,
    )


def _small(configuration: DictConfig) -> DictConfig:
    """The configuration with as little to do as what follows allows; what it leaves out stays out."""
    small = copy.deepcopy(configuration)
    OmegaConf.set_struct(small, False)
    small.trainer.progress = False
    for group, numbers in LEAST.items():
        for key, number in numbers.items() if small.get(group) is not None else ():
            small[group][key] = min(small[group][key], number)
    return small


@contextmanager
def _unheard() -> Iterator[None]:
    """Without warnings, which two images are apt to give."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
