"""A study: several models over several seeds, one table, beside a paper's numbers where the configuration has them."""

import json
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import xarray as xr
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from experiments.codes import sampled_codes
from experiments.labels import metric_labels
from experiments.provenance import environment
from experiments.publication import publish
from experiments.report import ReportFigure, Table
from experiments.resolvers import register_resolvers
from experiments.training import RUNNING, check_same_configuration, share_cores, train_and_evaluate
from ppvae import UserError, read_posterior
from ppvae.errors import check_choice
from ppvae.files import replace_atomically
from ppvae.metrics import scaled_covariance
from ppvae.plots import plot_covariances, plot_latent_history

__all__ = ["run"]

OWN_KEYS = (
    "seeds",
    "workers",
    "models",
    "metrics",
    "figures",
    "prepare",
    "measure",
    "paper",
    "title",
)  # what a study says about itself
DECIDED = (*OWN_KEYS, "seed", "job", "resume")  # not for a command line to say about a study's models


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train what is missing under ``directory``, then write the table as CSV, Markdown and a page."""
    figures = _named(configuration, "figures", _figures)  # now: a name misspelt ends before the training
    prepare = _named(configuration, "prepare", lambda *_: None)
    labels = metric_labels(_named(configuration, "measure", train_and_evaluate))
    for key in ("metrics", "paper"):
        for metric in (configuration.get(key) or []) if labels else []:
            check_choice(key, metric, labels)
    jobs = [
        (OmegaConf.to_yaml(_configured(configuration, overrides, seed)), directory / name / f"seed{seed}")
        for seed in configuration.seeds
        for name, overrides in configuration.models.items()
    ]
    if any(_key(override) == "seed" for override in HydraConfig.get().overrides.task):
        raise UserError("a study runs several seeds; give seeds=[0,1,2] instead of seed")
    for text, where in jobs:
        check_same_configuration(OmegaConf.create(text), where, may_change=RUNNING)
    jobs = [(*job, configuration.get("measure")) for job in jobs if not (job[1] / "metrics.json").is_file()]
    directory.mkdir(parents=True, exist_ok=True)
    prepare(configuration, directory)
    if configuration.workers > 1:
        with ProcessPoolExecutor(configuration.workers, get_context("spawn")) as pool:
            for done in [pool.submit(_one, *job, configuration.workers) for job in jobs]:
                done.result()
    else:
        for job in jobs:
            _one(*job, workers=1)
    results = _collected(configuration, directory)
    replace_atomically(directory / "results.csv", lambda path: results.to_csv(path, index=False))
    table = _table(results, configuration, labels or _own_names(results))
    facts = {
        "data": "; ".join(results["data"].unique()),
        **environment(list(configuration.seeds)),
    }
    return publish(
        directory,
        title=configuration.title,
        lead=f"{len(configuration.seeds)} seeds a model; mean ± standard deviation.",
        table=table,
        configuration=OmegaConf.to_yaml(configuration),
        facts=facts,
        figures=lambda: figures(configuration, directory),
    )


def _configured(configuration: DictConfig, overrides: list[str], seed: int) -> DictConfig:
    """The configuration of one model: the study's own, the command line's overrides, then the model's own."""
    given = [o for o in HydraConfig.get().overrides.task if _key(o) not in DECIDED]
    own = [*given, *overrides, f"seed={seed}", "job=experiments.jobs.single.run"]
    last = {override.split("=")[0].lstrip("+"): override for override in own}  # of two for one key, the model's counts
    one = compose("config", list(last.values()))
    with open_dict(one):
        for key in OWN_KEYS:
            one.pop(key, None)
        one.name = configuration.name
    return one


def _key(override: str) -> str:
    """The top-level key that an override such as ``~models.vanilla`` or ``trainer.epochs=3`` is about."""
    return override.split("=")[0].lstrip("+~").split(".")[0]


def _one(configuration: str, directory: Path, measure: str | None, workers: int) -> None:
    """Train and measure one model with one seed, continuing from its checkpoint where there is one.

    ``measure``: a function to do it in place of the main job's, which writes ``metrics.json`` too.
    """
    register_resolvers()
    if workers > 1:
        share_cores(workers, os.cpu_count() or 1)
    train = train_and_evaluate if measure is None else pkgutil.resolve_name(measure)
    train(OmegaConf.create(configuration), directory, resume=(directory / "checkpoint.pt").is_file())


def _collected(configuration: DictConfig, directory: Path) -> pd.DataFrame:
    rows = []
    for name in configuration.models:
        for seed in configuration.seeds:
            metrics = json.loads((directory / name / f"seed{seed}" / "metrics.json").read_text())
            rows.append({"model": name, "seed": seed, **metrics})
    return pd.DataFrame(rows)


def _own_names(results: pd.DataFrame) -> dict[str, str]:
    """Labels of numbers that nobody labelled."""
    return {name: name for name in results.select_dtypes("number") if name != "seed"}


def _table(results: pd.DataFrame, configuration: DictConfig, labels: Mapping[str, str]) -> Table:
    """One row a metric, one column a model: mean ± standard deviation and, where there is one, [the paper's number]."""
    paper = configuration.get("paper") or {}
    rows = []
    wanted = configuration.get("metrics") or list(labels)
    for metric, label in labels.items():
        if metric not in results or metric not in wanted or (results[metric].isna().all() and metric not in paper):
            continue
        cells = []
        for name in configuration.models:
            here = _mean_and_deviation(results.loc[results.model == name, metric].dropna())
            published = paper.get(metric, {}).get(name)
            cells.append(here if published is None else f"{here or '–'} [{published}]")
        rows.append([label, *cells])
    caption = f"Mean ± standard deviation over {results.seed.nunique()} seeds."
    marked = results.loc[results["units"] != "nats", "model"].unique()
    if len(marked):
        caption += f" {', '.join(marked)}: surrogate nats, of a likelihood that is no density of these pixels."
    if paper:
        caption += " In brackets: the paper's number, where it has one."
    return Table(configuration.title, ["metric", *configuration.models], rows, caption)


def _mean_and_deviation(values: pd.Series) -> str | None:
    if values.empty:
        return None
    whole = (values == values.round()).all()
    digits = 0 if values.abs().max() >= 1000 or (whole and values.nunique() == 1) else 1 if whole else 2
    deviation = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{deviation}"


def _named(configuration: DictConfig, key: str, default: Callable | None) -> Callable | None:
    """The function that the study names under ``key``."""
    name = configuration.get(key)
    if name is None:
        return default
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{key}={name}: {error}; give a function by its name, package.module.function") from None


def _figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Fig. 4 of all models and Fig. 3 of those that have p, for the first seed."""
    seed = configuration.seeds[0]
    runs = {name: directory / name / f"seed{seed}" for name in configuration.models}
    histories = {name: read_posterior(run / "history.zarr").to_dataset().load() for name, run in runs.items()}
    covariances = ReportFigure(
        "covariances",
        f"Scaled covariance of sampled latents over the images, seed {seed} (the paper's Fig. 4). One bright square on "
        "the diagonal for each latent that carries variance; bright off the diagonal: correlated latents.",
        plot_covariances({name: _covariance(run) for name, run in runs.items()}),
    )
    probabilities = [
        ReportFigure(
            "probabilities_" + re.sub(r"[^A-Za-z0-9_-]", "_", name),
            f"Probability that each latent is uninformative over training, seed {seed} (the paper's Fig. 3). The rule "
            "p < ½ is to be held against the counts by KL and by ablation above.",
            plot_latent_history(history, "p"),
            f"p of each latent: {name}",
        )
        for name, history in histories.items()
        if "p" in history
    ]
    return [covariances, *probabilities]


def _covariance(run: Path) -> xr.DataArray:
    return scaled_covariance(sampled_codes(read_posterior(run / "posterior.zarr")))
