"""What is given with an image, shown: the digits that a conditional model draws under each label."""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from experiments.assemble import Parts, assemble
from experiments.report import ReportFigure
from ppvae.interventions import draw_given
from ppvae.models import ConditionalVAE
from ppvae.networks import LabelCondition
from ppvae.plots import plot_image_blocks
from ppvae.svi import load_pair

__all__ = ["figures", "samples_by_label"]

COLUMNS = 12


def samples_by_label(parts: Parts, seed: int, name: str = "samples_by_label") -> list[ReportFigure]:
    """Images drawn under each label, one code a column; nothing for a model that is given none."""
    if not isinstance(parts.model, ConditionalVAE) or not isinstance(parts.model.condition, LabelCondition):
        return []
    labels = torch.arange(parts.model.condition.levels)
    drawn = draw_given(parts.model, labels, COLUMNS, seed=seed).rename(given="z_local", draw="z_global")
    (given,) = parts.data.inputs
    caption = (
        f"Drawn by the model: a row for each {given}, from 0 at the top, a column for each code drawn from the prior. A "
        "row should keep what the label says, a column all else, such as slant and thickness."
    )
    figure = plot_image_blocks({"": drawn}, per_line=1, varied=("z", given))
    return [ReportFigure(name, caption, figure, f"Samples by {given}")]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Samples by label of the study's conditional models, the first seed."""
    seed, found = configuration.seeds[0], []
    for name in configuration.models:
        run = directory / name / f"seed{seed}"
        parts = assemble(OmegaConf.load(run / "config.yaml"))
        load_pair(run / "checkpoint.pt", parts.model, parts.guide)
        found += samples_by_label(parts, seed, f"samples_by_label_{name}")
    return found
