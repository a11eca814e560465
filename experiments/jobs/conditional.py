"""What is given with an image, or known of some, shown: the digits that a study's models draw under each label."""

from pathlib import Path

from omegaconf import DictConfig

from ..label_figures import samples_by_label
from ..report import ReportFigure
from ..selecting import trained_parts

__all__ = ["figures"]


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Samples by label of the study's models that have one, the first seed."""
    seed, found = configuration.seeds[0], []
    for name in configuration.models:
        parts = trained_parts(directory / name / f"seed{seed}", configuration)
        found += samples_by_label(parts, seed, f"samples_by_label_{name}")
    return found
