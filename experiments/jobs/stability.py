"""Which trainings diverge: a study's ``measure``, of runs whose end is a number and not a failure."""

import json
import math
from pathlib import Path

import pandas as pd
import xarray as xr
from omegaconf import DictConfig

from ppvae import check_pair
from ppvae.errors import Diverged, one_line
from ppvae.files import replace_atomically
from ppvae.pair.untouched import unit_of

from ..assemble import assemble
from ..history_figures import terms_figure
from ..labels import labelled
from ..report import ReportFigure
from ..training import train

__all__ = ["figures", "stability", "train_and_watch"]

STABILITY = {
    "diverged": "share of seeds that diverged",
    "final_negative_elbo": "−ELBO, mean of the last epoch (nats)",
    "best_negative_elbo": "−ELBO, mean of the best epoch (nats)",
    "largest_gradient_norm": "largest gradient norm",
    "largest_gradient_norm_later": "largest gradient norm after the first epoch",
    "skipped": "skipped steps",
    "epochs": "epochs",
    "seconds": "training time (s)",
}


@labelled(STABILITY)
def train_and_watch(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """Train, to the end or until the loss is no number, and write ``metrics.json``: whether it diverged, and how near
    it came.

    Errors: :class:`~ppvae.errors.UserError` for what is wrong before a training; a divergence is none.
    """
    parts = assemble(configuration)
    check_pair(parts.model, parts.guide, parts.data.observed(slice(2)), parts.objective)
    ended = None
    try:
        train(parts, configuration, directory, epochs=configuration.trainer.epochs, resume=resume)
    except Diverged as error:
        ended = one_line(error)
    found = stability(_history(directory), ended)
    metrics = {"data": parts.data.description, "units": unit_of(parts.model), "ended": ended, **found}
    metrics = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in metrics.items()}
    replace_atomically(directory / "metrics.json", lambda path: path.write_text(json.dumps(metrics, indent=1)))


def stability(history: pd.DataFrame, ended: str | None = None) -> dict[str, float]:
    """Whether a training diverged, and its extremes, from the table of its epochs; ``ended``: what ended it early.

    It diverged if it was ended, as by a loss that is no number, or if the −ELBO of its last epoch is above twice that
    of its best one: b + |b| above the best b, which may be negative for a density. The −ELBO and not the loss, which
    begins low while the KL's weight does, and holds the penalties. An epoch should be some hundred steps.
    """
    if history.empty:
        return {"diverged": 1.0, "epochs": 0}
    costs = -history["elbo"]
    final, best = float(costs.iloc[-1]), float(costs.min())
    norms = history["largest_gradient_norm"]
    return {
        "diverged": float(ended is not None or not final <= best + abs(best)),
        "final_negative_elbo": final,
        "best_negative_elbo": best,
        "largest_gradient_norm": float(norms.max()),
        "largest_gradient_norm_later": float(norms[1:].max()),
        "skipped": float(history["skipped"].sum()) if "skipped" in history else 0.0,
        "epochs": len(history),
        "seconds": float(history["seconds"].sum()),
    }


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """How rate and distortion went in the first seed of each model that finished an epoch."""
    seed = configuration.seeds[0]
    histories = {name: _history(directory / name / f"seed{seed}") for name in configuration.models}
    drawn = {
        name: terms_figure(xr.Dataset.from_dataframe(history.set_index("epoch")), more=f"Seed {seed}.")
        for name, history in histories.items()
        if not history.empty
    }
    return [
        figure._replace(name=f"terms_{name}", title=f"Rate and distortion: {name}") for name, figure in drawn.items()
    ]


def _history(directory: Path) -> pd.DataFrame:
    """A row for each epoch that was finished."""
    path = directory / "history.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()
