"""A study: several models over several seeds, one table, beside a paper's numbers where the configuration has them."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

import pandas as pd
import xarray as xr
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ppvae import UserError, read_posterior
from ppvae.errors import check_choice
from ppvae.files import replace_atomically
from ppvae.metrics import scaled_covariance
from ppvae.plots import plot_covariances

from ..cells import listed, mean_and_deviation, noun_of_runs, surrogate_sentence
from ..codes import sampled_codes
from ..figures import figures_of_selection, off_diagonal
from ..history_figures import probabilities_figure
from ..labels import metric_labels
from ..launching import check_workers, launch
from ..members import attempt, metrics_of, outcome_of, say_what_is_left
from ..own_names import named
from ..provenance import environment
from ..publication import publish
from ..report import ReportFigure, Table
from ..seen import sentence
from ..selecting import read_selected
from ..training import RUNNING, check_same_configuration, train_and_evaluate

__all__ = ["run"]

OWN_KEYS = (
    "seeds",
    "workers",
    "sweep",
    "models",
    "metrics",
    "figures",
    "prepare",
    "measure",
    "paper",
    "title",
)  # what a study says about itself
DECIDED = {*OWN_KEYS, "seed", "job", "resume"} - {"measure"}  # not for a command line to say about a study's models


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train what is missing under ``directory``, then write the table as CSV, Markdown and a page.

    Errors: :class:`~ppvae.errors.UserError` before any training for what no model could do, and after all, with the
    table written, where some runs failed or are missing.
    """
    figures = _named(configuration, "figures", _figures)  # now: a name misspelt ends before the training
    prepare = _named(configuration, "prepare", lambda *_: None)
    measure = _named(configuration, "measure", train_and_evaluate)
    labels = metric_labels(measure)
    for key in ("metrics", "paper"):
        for metric in (configuration.get(key) or []) if labels else []:
            check_choice(key, metric, labels)
    workers = configuration.get("workers")  # not in a member of a sweep
    check_workers(workers)
    if any(_key(override) == "seed" for override in HydraConfig.get().overrides.task):
        raise UserError("a study runs several seeds; give seeds=[0,1,2] instead of seed")
    members = {
        f"{name}/seed{seed}": _overrides(overrides, seed)
        for seed in configuration.seeds
        for name, overrides in configuration.models.items()
    }
    for name, overrides in members.items():
        check_same_configuration(_own(compose("config", overrides)), directory / name, may_change=RUNNING)
    directory.mkdir(parents=True, exist_ok=True)
    prepare(configuration, directory)
    missing = {name: overrides for name, overrides in members.items() if not metrics_of(directory / name)}
    failure = launch(missing, run_member, directory, cast(DictConfig, HydraConfig.instance().cfg), workers)
    results = _collected(configuration, directory)
    left = {name: outcome_of(directory / name) for name in members if not metrics_of(directory / name)}
    if results.empty:
        raise UserError(say_what_is_left(left, len(members), directory, failure))
    replace_atomically(directory / "results.csv", lambda path: results.to_csv(path, index=False))
    rows = [(name, outcome.state, outcome.error) for name, outcome in left.items()]
    facts = {
        "data": "; ".join(results["data"].unique()),
        **environment(list(configuration.seeds)),
    }
    page = publish(
        directory,
        found=_found(members, directory),
        links=_reports(members, directory),
        title=configuration.title,
        lead=_over(len(configuration.seeds), " a model"),
        table=_table(results, configuration, metric_labels(measure, noun_of_runs(results)) or _own_names(results)),
        more=[Table("Runs not done", ("run", "state", "why"), rows)] if rows else [],
        configuration=OmegaConf.to_yaml(configuration),
        facts=facts,
        figures=lambda: [] if left else figures(configuration, directory),  # which are of all models
    )
    if failure or left:
        raise UserError(say_what_is_left(left, len(members), directory, failure))
    return page


def run_member(configuration: DictConfig) -> None:
    """Hydra's task: one model with one seed; its outcome is in its folder, and a line of it is printed."""
    directory = Path(HydraConfig.get().runtime.output_dir)
    outcome = attempt("experiments.jobs.study.train_member", configuration, directory)
    print(f"{directory.parent.name}/{directory.name}: {outcome.said()}", flush=True)


def train_member(configuration: DictConfig, directory: Path) -> None:
    """Train and measure one model with one seed, continuing from its checkpoint where there is one."""
    train = _named(configuration, "measure", train_and_evaluate)  # a function that writes ``metrics.json``, too
    train(_own(configuration), directory, resume=(directory / "checkpoint.pt").is_file())


def _overrides(overrides: list[str], seed: int) -> list[str]:
    """Those of one model: the command line's, then the model's own, of two for one key the model's."""
    given = [o for o in HydraConfig.get().overrides.task if _key(o) not in DECIDED]
    own = [*given, *overrides, f"seed={seed}", "job=experiments.jobs.single.run"]
    return list({override.split("=")[0].lstrip("+"): override for override in own}.values())


def _own(configuration: DictConfig) -> DictConfig:
    """One model's configuration, without what the study says about itself."""
    one = configuration.copy()
    with open_dict(one):
        for key in OWN_KEYS:
            one.pop(key, None)
    return one


def _key(override: str) -> str:
    """The top-level key that an override such as ``~models.vanilla`` or ``trainer.epochs=3`` is about."""
    return override.split("=")[0].lstrip("+~").split(".")[0]


def _collected(configuration: DictConfig, directory: Path) -> pd.DataFrame:
    """A row for each run that has its numbers."""
    runs = [(name, seed) for name in configuration.models for seed in configuration.seeds]
    found = [(name, seed, metrics_of(directory / name / f"seed{seed}")) for name, seed in runs]
    return pd.DataFrame([{"model": name, "seed": seed, **metrics} for name, seed, metrics in found if metrics])


def _found(members: Iterable[str], directory: Path) -> list[str]:
    """What the runs say of themselves, where their measure has them say it."""
    said = {name: directory / name / "found.txt" for name in members}
    return [
        f"{name}: {line}" for name, file in said.items() if file.is_file() for line in file.read_text().splitlines()
    ]


def _reports(members: Iterable[str], directory: Path) -> dict[str, str]:
    """The pages of the runs that have one."""
    return {name: f"{name}/report.html" for name in members if (directory / name / "report.html").is_file()}


def _own_names(results: pd.DataFrame) -> dict[str, str]:
    """Labels of numbers that nobody labelled."""
    return {name: name for name in results.select_dtypes("number") if name != "seed"}


def _over(seeds: int, each: str = "") -> str:
    return f"One seed{each}." if seeds == 1 else f"Mean ± standard deviation over {seeds} seeds{each}."


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
            here = mean_and_deviation(results.loc[results.model == name, metric])
            published = paper.get(metric, {}).get(name)
            cells.append(here if published is None else f"{here or '–'} [{published}]")
        rows.append([label, *cells])
    caption = _over(results.seed.nunique())
    caption += surrogate_sentence(results, "model") + _empty_cells(results, configuration)
    if paper:
        caption += " In brackets: the paper's number, where it has one."
    return Table(configuration.title, ["metric", *configuration.models], rows, caption)


def _empty_cells(results: pd.DataFrame, configuration: DictConfig) -> str:
    """Which models lack seeds, of which the means then are not."""
    seeds = list(configuration.get("seeds") or results["seed"].unique())
    found = {name: set(results.loc[results["model"] == name, "seed"]) for name in configuration.models}
    lacking = [f"{name} (seed {seed})" for name in found for seed in seeds if seed not in found[name]]
    return f" Missing: {listed(lacking)}." if lacking else ""


def _named(configuration: DictConfig, key: str, default: Callable) -> Callable:
    """The function that the study names under ``key``."""
    name = configuration.get(key)
    if name is None:
        return default
    try:
        return named(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{key}={name}: {error}; give a function by its name, package.module.function") from None


def _figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Fig. 4 of all models, Fig. 3 of those that have p and the path of those that select, for the first seed."""
    seed = configuration.seeds[0]
    runs = {name: directory / name / f"seed{seed}" for name in configuration.models}
    histories = {name: read_posterior(run / "history.zarr").to_dataset().load() for name, run in runs.items()}
    matrices = {name: _covariance(run) for name, run in runs.items()}
    seen = sentence(off_diagonal(matrices))
    caption = (
        f"{seen} Scaled covariance of sampled latents, seed {seed} (the paper's Fig. 4): one bright square on the "
        "diagonal for each latent that carries variance; bright off the diagonal are correlated latents."
    )
    alt = f"A heat map of latents by latents for each model. {seen}"
    covariances = ReportFigure("covariances", caption, plot_covariances(matrices), "", alt)
    probabilities = [_probabilities(name, history, seed) for name, history in histories.items() if "p" in history]
    return [*_paths(runs), covariances, *probabilities]


def _probabilities(name: str, history: xr.Dataset, seed: int) -> ReportFigure:
    """p of a model's latents over training."""
    figure = probabilities_figure(history)
    caption = f"{figure.caption} Seed {seed} (the paper's Fig. 3)."
    return figure._replace(name=f"{figure.name}_{_safe(name)}", title=f"p of each latent: {name}", caption=caption)


def _paths(runs: Mapping[str, Path]) -> list[ReportFigure]:
    return [
        figure._replace(name=f"path_{_safe(name)}", title=f"{figure.title}: {name}")
        for name, run in runs.items()
        for figure in figures_of_selection(read_selected(run))
    ]


def _safe(name: str) -> str:
    """A model's name as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _covariance(run: Path) -> xr.DataArray:
    return scaled_covariance(sampled_codes(read_posterior(run / "posterior.zarr")))
