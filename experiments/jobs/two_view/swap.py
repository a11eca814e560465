"""Which code holds the label? A classifier reads images redrawn with one code drawn anew (the paper's Exp. 1.2)."""

from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from ppvae import redraw
from ppvae.plots import plot_accuracies

from ...labels import labelled
from ...report import ReportFigure
from ...seen import sentence
from .classifier import accuracy, labels_of, load
from .runs import TRAINED_PAIR, bounds, checked, train_pair, write_metrics

__all__ = ["figures", "train_and_swap"]

OF = "accuracy of the label: "
ACCURACIES = {
    "accuracy_real": f"{OF}test images",
    "accuracy_reconstructed": f"{OF}reconstructed",
    "accuracy_z_local": f"{OF}z_local drawn anew",
    "accuracy_z_global": f"{OF}z_global drawn anew",
    "chance": f"{OF}the commonest one, by chance",
}
SHOWN = {name: label.removeprefix(OF) for name, label in ACCURACIES.items() if name != "chance"}  # chance is a line


@labelled(ACCURACIES | TRAINED_PAIR)
def train_and_swap(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """Train a pair and hold test images redrawn by it against the study's classifier; writes ``metrics.json``."""
    parts, test = checked(configuration)
    labels = labels_of(test)
    run = train_pair(parts, test, configuration, directory, resume=resume)
    classifier, images = load(directory.parents[1]), test.observed()
    seen = {"accuracy_real": images, "accuracy_reconstructed": redraw(run.model, parts.guide, images)}
    seen |= {f"accuracy_{code}": redraw(run.model, parts.guide, images, code) for code in ("z_local", "z_global")}
    metrics = {name: accuracy(classifier, shown, labels) for name, shown in seen.items()}
    chance = float(labels.bincount().max() / len(labels))
    write_metrics(run, {**metrics, "chance": chance, **bounds(run, configuration)}, directory)


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Fig. 3: the accuracies of each model."""
    results = pd.read_csv(directory / "results.csv")
    means = results.groupby("model", sort=False)[list(SHOWN)].mean().rename(columns=SHOWN)
    chance = float(results["chance"].mean())
    kept = [
        f"under {name} {row[SHOWN['accuracy_z_local']]:.0%} with z_local drawn anew, "
        f"{row[SHOWN['accuracy_z_global']]:.0%} with z_global"
        for name, row in means.iterrows()
    ]
    seen = f"the classifier names the label of {'; '.join(kept)}; by chance of {chance:.0%}"
    caption = (
        f"{sentence(seen)} With the auxiliary task the label should survive a new z_local and fall to chance, the "
        "line, under a new z_global (the paper's Fig. 3)."
    )
    figure = plot_accuracies({name: dict(row) for name, row in means.iterrows()}, chance=chance)
    alt = f"{len(SHOWN)} bars a model, with a line at chance. {sentence(seen)}"
    return [ReportFigure("accuracies", caption, figure, configuration.title, alt)]
