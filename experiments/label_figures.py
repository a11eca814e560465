"""Figures of labels: what a model draws under each, and what a classifier calls each."""

from typing import cast

import numpy as np
import torch
import xarray as xr
from torch import nn

from ppvae.interventions import draw_given
from ppvae.models import ConditionalVAE, SemiSupervisedVAE
from ppvae.networks import LabelCondition
from ppvae.nouns import noun_of
from ppvae.plots import plot_confusion, plot_image_blocks

from .assemble import Parts
from .evaluation import Evaluation
from .report import ReportFigure
from .seen import differ, in_turn, shown

__all__ = ["labels_named", "samples_by_label", "samples_figure"]

COLUMNS = 12  # codes drawn under each label
MISTAKEN = 3  # pairs of labels that a caption names


def samples_by_label(parts: Parts, seed: int, name: str = "samples_by_label") -> list[ReportFigure]:
    """Images drawn under each label, one code a column; nothing for a model that has none."""
    labels = _labels(parts.model)
    if labels is None:
        return []
    (given,) = (name.removeprefix("known_") for name in parts.data.inputs)
    drawn = draw_given(cast(ConditionalVAE | SemiSupervisedVAE, parts.model), torch.arange(labels), COLUMNS, seed=seed)
    return [samples_figure(name, given, _values(parts, given, labels), drawn)]


def samples_figure(name: str, given: str, levels: list[str], drawn: xr.DataArray) -> ReportFigure:
    """Draws (given, draw, …) under each level of what is given, and whether that or the code changes them more."""
    rows, columns = (differ(drawn.mean(other), dim) for dim, other in (("given", "draw"), ("draw", "given")))
    seen = (
        f"rows' means differ from each other by {shown(rows)} a pixel, columns' by {shown(columns)}: "
        f"{'the label' if rows > columns else 'the code'} changes the image more"
    )
    caption = (
        f"Drawn by the model: a row for each {given}, from {levels[0]} at the top to {levels[-1]}, a column for each "
        f"of {drawn.sizes['draw']} codes from the prior. The {seen}."
    )
    figure = plot_image_blocks({"": drawn.rename(given="z_local", draw="z_global")}, per_line=1, varied=("z", given))
    alt = f"{len(levels)} rows of {drawn.sizes['draw']} images. The {seen}."
    return ReportFigure(name, caption, figure, f"Samples by {given}", alt)


def labels_named(parts: Parts, evaluation: Evaluation) -> list[ReportFigure]:
    """What the classifier calls test images of each label; nothing of a pair without one, or without labels."""
    found = evaluation.labels
    if found is None or not found["counts"].any():
        return []
    counts, noun = found["counts"].transpose("label", "named"), noun_of(parts.data)
    seen = f"{float(found['score']):.1%} of {int(counts.sum())} {noun.many} that no training saw have their own label"
    mistakes = _mistakes(counts)
    seen += f"; most mistaken: {in_turn(mistakes)}" if mistakes else "; none is mistaken"
    caption = f"{seen}. Labels a row each, what the classifier calls them a column each, in per cent of the row."
    title = "Labels and what the classifier calls them"
    alt = f"A heat map of {counts.sizes['label']} labels by {counts.sizes['named']} names, the diagonal where "
    return [ReportFigure("labels", caption, plot_confusion(found), title, f"{alt}they agree: {seen}.")]


def _mistakes(counts: xr.DataArray) -> list[str]:
    """The most frequent wrong names, such as ``4 called 9 (3 of 98)``."""
    labels, names = counts["label"].values.astype(str), counts["named"].values.astype(str)
    wrong = np.where(labels[:, None] == names, 0, counts.values)
    largest = [
        np.unravel_index(place, wrong.shape) for place in np.argsort(-wrong, axis=None, kind="stable")[:MISTAKEN]
    ]
    whole = counts.values.sum(1)
    return [
        f"{labels[row]} called {names[column]} ({wrong[row, column]} of {whole[row]})"
        for row, column in largest
        if wrong[row, column]
    ]


def _values(parts: Parts, given: str, labels: int) -> list[str]:
    """What the levels are called, by their numbers where the data do not say it."""
    factors = parts.data.factors
    values = factors[given].attrs.get("values") if factors is not None and given in factors else None
    return [str(value) for value in (values if values is not None and len(values) == labels else range(labels))]


def _labels(model: nn.Module) -> int | None:
    """How many labels a model draws images under."""
    if isinstance(model, SemiSupervisedVAE):
        return model.levels
    if isinstance(model, ConditionalVAE) and isinstance(model.condition, LabelCondition):
        return model.condition.levels
    return None
