"""What is given with an image, shown: the digits that a study's conditional models draw under each label."""

from pathlib import Path

from omegaconf import DictConfig

from experiments.assemble import assemble
from experiments.configuration_files import load_configuration
from experiments.figures import samples_by_label
from experiments.report import ReportFigure
from ppvae.svi import load_pair

__all__ = ["figures"]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Samples by label of the study's conditional models, the first seed."""
    seed, found = configuration.seeds[0], []
    for name in configuration.models:
        run = directory / name / f"seed{seed}"
        parts = assemble(load_configuration(run / "config.yaml", configuration))
        load_pair(run / "checkpoint.pt", parts.model, parts.guide)
        found += samples_by_label(parts, seed, f"samples_by_label_{name}")
    return found
