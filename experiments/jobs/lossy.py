"""What a decoder that sees its past leaves to z: the colours that draws of one z share, and these draws shown."""

from collections.abc import Mapping
from pathlib import Path

import torch
import xarray as xr
from omegaconf import DictConfig
from torch.nn.functional import adaptive_avg_pool2d

from ppvae import from_pyro_svi
from ppvae.interventions import draws_given_z
from ppvae.interventions.held import images_of
from ppvae.models import GreyScale

from ..assemble import Parts, held_out
from ..configuration_files import load_configuration
from ..draw_figures import same_z_figure
from ..labels import labelled
from ..meanings import metric_names
from ..report import ReportFigure
from ..selecting import trained_parts
from ..training import TRAINED, train_and_evaluate

__all__ = ["figures", "kept", "train_and_look"]

IMAGES, DRAWS = 64, 8  # that are looked at, and of one z each
SHOWN = 6  # in the figure
BLOCKS = 4  # a side, over which colours are averaged
KEPT = {
    "grey_kept": "grey values that draws of one z keep (R² of 4 × 4 blocks)",
    "colour_kept": "colours that draws of one z keep (R² of 4 × 4 blocks, less the grey value)",
}


@labelled(metric_names() | TRAINED | KEPT)
def train_and_look(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """Train and evaluate, and measure what draws of one z have in common with their image."""
    train_and_evaluate(configuration, directory, resume=resume, measure=_kept)


def kept(images: torch.Tensor, drawn: torch.Tensor) -> dict[str, float]:
    """Share of the blocks' variance over the images that the mean of the draws of one z explains.

    Shapes: images (image, C, H, W), drawn (image, draw, C, H, W), one channel or RGB. One: every draw has the image's
    blocks; zero: no better than the mean image. ``colour_kept`` is of the channels less their grey value.
    """
    blocks, means = adaptive_avg_pool2d(images, BLOCKS), adaptive_avg_pool2d(drawn.mean(1), BLOCKS)
    if images.shape[-3] == 1:
        return {"grey_kept": _explained(blocks, means)}
    grey, grey_means = map(GreyScale(), (blocks, means))
    return {"grey_kept": _explained(grey, grey_means), "colour_kept": _explained(blocks - grey, means - grey_means)}


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Draws of one z by each model, of the same images, the first seed."""
    seed, found = configuration.seeds[0], []
    for name in configuration.models:
        run = directory / name / f"seed{seed}"
        own = load_configuration(run / "config.yaml", configuration)
        parts = trained_parts(run, configuration)
        images, drawn = _draws(parts, own, SHOWN)
        which = "test images" if own.held_out.images else "training images"
        found.append(same_z_figure(f"same_z_{name}", drawn, images, f"One z, many draws: {name}", which))
    return found


def _kept(parts: Parts, configuration: DictConfig) -> Mapping[str, float]:
    return kept(*(torch.from_numpy(array.values) for array in _draws(parts, configuration, IMAGES)))


def _draws(parts: Parts, configuration: DictConfig, count: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Images held out, or of the training where none are, and draws of one z each."""
    data = held_out(configuration) or parts.data
    few = data.subset(slice(min(count, len(data))))
    tree = from_pyro_svi(parts.model, parts.guide, few, 1, seed=configuration.seed)
    return images_of(tree), draws_given_z(parts.model, tree, DRAWS, seed=configuration.seed)


def _explained(blocks: torch.Tensor, means: torch.Tensor) -> float:
    return 1 - float((means - blocks).square().sum() / (blocks - blocks.mean(0)).square().sum())
