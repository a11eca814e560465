"""``select=path``: too many latents in, those of the path's widest plateau kept, before the training itself."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import xarray as xr
from omegaconf import DictConfig
from torch import nn

from ppvae import Objective, read_posterior
from ppvae.datasets import ImageDataset
from ppvae.files import replace_atomically
from ppvae.pair.program import Data
from ppvae.selection import chosen_plateau, entrance, keep_latents, say_plateau
from ppvae.selection.first import first_images
from ppvae.selection.selecting import pair_of_level

from .assemble import Parts, assemble
from .configuration_files import load_configuration
from .endings import said_in_one_line
from .fitting import follow_path
from .pairs import built
from .weights import load_trained

__all__ = [
    "SELECTED",
    "Selected",
    "check_selection",
    "kept_pair",
    "numbers_of_selection",
    "read_selected",
    "selected",
    "trained_parts",
]

logger = logging.getLogger(__name__)

FOLDER = "path"  # of a run, in which its path is kept
PROBED = 16  # images on which the cut is tried before the training
SELECTED = {"latents_kept": "latents that the path keeps", "path_seconds": "time of the path (s)"}


class Selected(NamedTuple):
    """What the path found, and the latents that were kept, by their numbers: all of them where no number held."""

    path: xr.Dataset
    kept: list[int]

    @property
    def plateau(self) -> xr.Dataset | None:
        """The widest span over which as many latents are in."""
        return chosen_plateau(self.path)

    def said(self) -> str:
        """One sentence: how many of how many, over which weights."""
        whole, said = self.path.sizes["latent"], say_plateau(self.path)
        if self.plateau is None:
            return f"The path keeps all {whole} latents, as {said}"
        return f"The path keeps {len(self.kept)} of {whole} latents, {said.partition(', ')[2]}"


def check_selection(parts: Parts, configuration: DictConfig) -> None:
    """UserError, before any training, for a pair that cannot be cut and images whose entrance is not known."""
    if configuration.get("select") is None:
        return
    with said_in_one_line("select cannot cut this pair"):
        keep_latents(parts.model, parts.guide, [0], first_images(parts.data, PROBED))
        if configuration.select.start is None:
            entrance(parts.model, parts.data)


def selected(parts: Parts, configuration: DictConfig, directory: Path) -> Parts:
    """With the pair that the path keeps; as they are where no selection is wanted.

    The path lies in ``directory``/path: one that was ended goes on, one that is whole is read.
    """
    if configuration.get("select") is None:
        return parts
    folder, settings = directory / FOLDER, dict(configuration.select)
    own = settings.pop("objective")
    objective = None if own is None else built(own, Objective)
    found = follow_path(parts, configuration, folder, settings, objective, resume=True)
    model, guide, kept = parts.model, parts.guide, list(range(found.sizes["latent"]))
    plateau = chosen_plateau(found)
    if plateau is not None:
        model, guide, kept = pair_of_level(model, guide, parts.data, found, plateau, folder)
    replace_atomically(folder / "kept.json", lambda file: file.write_text(json.dumps(kept)))
    logger.info("%s", Selected(found, kept).said())
    return replace(parts, model=model, guide=guide)


def read_selected(directory: Path) -> Selected | None:
    """What the path of the run in ``directory`` said; None of a run without one."""
    folder = directory / FOLDER
    if not (folder / "kept.json").is_file():
        return None
    found = read_posterior(folder / "path.zarr").to_dataset().load()
    return Selected(found, json.loads((folder / "kept.json").read_text()))


def numbers_of_selection(directory: Path) -> dict[str, float]:
    """For ``metrics.json``; none of a run without a path."""
    chosen = read_selected(directory)
    return {} if chosen is None else {"latents_kept": len(chosen.kept), "path_seconds": chosen.path.attrs["seconds"]}


def trained_parts(run: Path, configuration: DictConfig) -> Parts:
    """Data, objective and trained pair of the run in a folder, read as the ``configuration`` of who asks allows."""
    own = load_configuration(run / "config.yaml", configuration)
    parts = assemble(own)
    model, guide = kept_pair(run, parts.model, parts.guide, first_images(parts.data, PROBED))
    load_trained(run, own, model, guide)
    return replace(parts, model=model, guide=guide)


def kept_pair(
    run: Path, model: nn.Module, guide: nn.Module, images: ImageDataset | Data
) -> tuple[nn.Module, nn.Module]:
    """The pair with the latents that the path of the run in a folder kept; as it is where there was no path.

    ``images``: any that the pair takes; what they put into the cut pair's biases is to be replaced by what was trained.
    """
    chosen = read_selected(run)
    if chosen is None or len(chosen.kept) == chosen.path.sizes["latent"]:
        return model, guide
    return keep_latents(model, guide, chosen.kept, images)
