"""Choosing a number of the configuration, β_norm above all, by a metric on a few labelled images."""

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pandas as pd
import xarray as xr
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ppvae import UserError, read_posterior
from ppvae.errors import check_choice, check_positive, check_whole
from ppvae.files import replace_atomically
from ppvae.metrics import DISENTANGLEMENT_METRICS
from ppvae.nouns import Noun
from ppvae.plots import plot_search

from ..cells import noun_of_runs
from ..codes import mean_codes
from ..meanings import metric_names
from ..provenance import environment
from ..publication import publish
from ..report import ReportFigure, Table
from ..seen import sentence
from ..training import RUNNING, check_same_configuration, share_cores, train_and_evaluate

__all__ = ["run"]

logger = logging.getLogger(__name__)

SAMPLERS = ("grid", "tpe")
ABOUT = ("search", "score")  # what the search says about itself


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train a run for each trial, in parallel processes, score it, and name the best; ``resume=`` goes on."""
    _check(configuration)
    check_same_configuration(configuration, directory, may_change=(*RUNNING, "search.trials", "search.workers"))
    replace_atomically(directory / "config.yaml", lambda path: OmegaConf.save(configuration, path))
    with _quiet():
        study = _search(configuration, directory)
    results = _results(study)
    replace_atomically(directory / "results.csv", lambda path: results.to_csv(path, index=False))
    best = results.loc[results["score"].idxmax()]
    page = publish(
        directory,
        title=f"{configuration.search.parameter} by {configuration.score.metric}",
        lead=_lead(configuration, best, noun_of_runs(results)),
        table=_table(results, configuration),
        configuration=OmegaConf.to_yaml(configuration),
        facts=environment(configuration.seed),
        figures=lambda: [_figure(results, configuration)],
    )
    print(f"Best run: {directory / best['run']}")
    return page


def _check(configuration: DictConfig) -> None:
    search, score = configuration.search, configuration.score
    check_choice("score.metric", score.metric, DISENTANGLEMENT_METRICS)
    check_choice("search.sampler", search.sampler, SAMPLERS)
    for name in ("low", "high"):
        check_positive(f"search.{name}", search[name])
    if search.low >= search.high:
        raise UserError(f"search.low={search.low:g} and search.high={search.high:g}; expected low below high")
    for name in ("trials", "workers"):
        check_whole(f"search.{name}", search[name], 1)
    check_whole("score.labelled", score.labelled, 2)
    if score.labelled > configuration.posterior.images:
        raise UserError(
            f"score.labelled={score.labelled} of posterior.images={configuration.posterior.images} images whose codes "
            "are kept; raise posterior.images"
        )
    if OmegaConf.select(configuration, search.parameter, default=search) is search:
        raise UserError(
            f"search.parameter={search.parameter} is no key of the configuration; give one, such as objective.beta_norm"
        )


def _search(configuration: DictConfig, directory: Path) -> optuna.Study:
    """Ask for values, train them in parallel processes and tell their scores, until there are as many as wanted."""
    search, study, text = configuration.search, _study(configuration, directory), OmegaConf.to_yaml(configuration)
    values = optuna.distributions.FloatDistribution(search.low, search.high, log=True)
    with _executor(search.workers) as pool:
        running: dict[Future, optuna.Trial] = {}
        while (missing := search.trials - _finished(study)) > 0:
            while len(running) < min(missing, search.workers):
                trial = study.ask({"value": values})
                running[pool.submit(_train, text, trial.params["value"], directory)] = trial
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                _tell(study, running.pop(done), done)
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells each trial on the terminal, where the training's bar is."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


class _Here(Executor):
    """Runs what is submitted at once, in this process: an interruption ends it, a test sees inside."""

    def submit(self, function: Callable, /, *arguments: Any, **options: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


def _executor(workers: int) -> Executor:
    return _Here() if workers == 1 else ProcessPoolExecutor(workers, get_context("spawn"))


def _study(configuration: DictConfig, directory: Path) -> optuna.Study:
    """The search kept in ``directory``; a new one begins with its sweep, an old one with what was under way."""
    search = configuration.search
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(directory / "search.log"))),
        sampler=optuna.samplers.TPESampler(seed=configuration.seed, n_startup_trials=2, constant_liar=True),
        study_name="search",
        direction="maximize",
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    if not study.trials:
        count = search.trials if search.sampler == "grid" else max(2, search.trials // 2)
        for value in np.geomspace(search.low, search.high, count):
            study.enqueue_trial({"value": float(value)})
    return study


def _tell(study: optuna.Study, trial: optuna.Trial, done: Future) -> None:
    """A run's score; a value whose training ends in a user's error, as by divergence, is tried and has none."""
    try:
        score, measured = done.result()
    except UserError as error:
        score, measured = math.nan, {"error": str(error)}
    for name, value in measured.items():
        trial.set_user_attr(name, value)
    if math.isfinite(score):
        study.tell(trial, score)
        return
    trial.set_user_attr("tried", True)
    study.tell(trial, state=TrialState.FAIL)
    logger.warning("%s: no score (%s)", trial.params["value"], measured.get("error", f"it is {score}"))


def _finished(study: optuna.Study) -> int:
    """Values tried, those without a score included; not the trials that an interruption left."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    return sum(trial.state == TrialState.COMPLETE or trial.user_attrs.get("tried", False) for trial in trials)


def _train(text: str, value: float, directory: Path) -> tuple[float, dict[str, float | str]]:
    """Train and measure one value in a process of its own: its score, and what else to tell about it."""
    configuration = cast(DictConfig, OmegaConf.create(text))
    share_cores(configuration.search.workers, os.cpu_count() or 1)
    run = Path("trials") / f"{configuration.search.parameter}={value:.4g}"
    one = configuration.copy()
    with open_dict(one):
        for key in ABOUT:
            one.pop(key)
        OmegaConf.update(one, configuration.search.parameter, value)
        one.job, one.resume = "experiments.jobs.single.run", None
    (directory / run).mkdir(parents=True, exist_ok=True)
    if not (directory / run / "metrics.json").is_file():
        train_and_evaluate(one, directory / run, resume=(directory / run / "checkpoint.pt").is_file())
    measured = json.loads((directory / run / "metrics.json").read_text())
    told = {name: measured[name] for name in ("elbo", "rate", "distortion", "informative_by_kl", "data")}
    return _score(configuration, directory / run), {**told, "run": str(run)}


def _score(configuration: DictConfig, run: Path) -> float:
    """The metric on the mean codes of the labelled images alone."""
    wanted = configuration.score
    tree = read_posterior(run / "posterior.zarr")
    if "constant_data" not in tree.children or len(tree["constant_data"].data_vars) < 2:
        raise UserError("choosing needs data with two factors or more, such as data=sprites; these have none")
    codes = mean_codes(tree)
    chosen = np.random.default_rng(configuration.seed).permutation(codes.sizes["image"])[: wanted.labelled]
    factors = tree["constant_data"].to_dataset().load().isel(image=chosen)
    found = DISENTANGLEMENT_METRICS[wanted.metric](
        codes.isel(image=chosen), factors, preset=wanted.preset, seed=configuration.seed
    )
    return float(found["score"])


def _results(study: optuna.Study) -> pd.DataFrame:
    """One row a value, smallest first."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        errors = {trial.user_attrs.get("error", "a score that is not finite") for trial in study.get_trials()}
        raise UserError(f"no value has a score: {'; '.join(sorted(errors))}")
    rows = [{"value": trial.params["value"], "score": trial.value, **trial.user_attrs} for trial in trials]
    return pd.DataFrame(rows).sort_values("value", ignore_index=True)


def _lead(configuration: DictConfig, best: pd.Series, noun: Noun) -> str:
    parameter, score = configuration.search.parameter, configuration.score
    return (
        f"Best {parameter} = {best['value']:.3g}, {score.metric} {best['score']:.3f} on {score.labelled} labelled "
        f"{noun.many}; its run: {best['run']}."
    )


def _table(results: pd.DataFrame, configuration: DictConfig) -> Table:
    parameter, score = configuration.search.parameter, configuration.score
    measured = {"elbo": 5, "rate": 3, "distortion": 5, "informative_by_kl": 3}  # digits
    digits = {"value": 4, "score": 3, **measured}
    rows = [[f"{row[name]:.{n}g}" for name, n in digits.items()] for _, row in results.iterrows()]
    noun = noun_of_runs(results)
    columns = [parameter, score.metric, *(metric_names(noun)[name] for name in measured)]
    caption = (
        f"One run a value, one seed; {score.metric} (preset {score.preset}) of the mean codes of {score.labelled} "
        f"labelled {noun.many}. Data: {results['data'].iloc[0]}."
    )
    return Table("Values tried", columns, rows, caption)


def _figure(results: pd.DataFrame, configuration: DictConfig) -> ReportFigure:
    parameter, score = configuration.search.parameter, configuration.score
    runs = xr.Dataset.from_dataframe(results.set_index("value")[["score", "rate"]])
    runs["score"].attrs = {"long_name": score.metric.replace("_", " "), "units": "1"}
    runs["rate"].attrs = {"long_name": "rate", "units": f"nats per {noun_of_runs(results)}"}
    runs["value"].attrs = {"long_name": parameter}
    best, worst = (results.loc[place] for place in (results["score"].idxmax(), results["score"].idxmin()))
    inside = best["value"] not in (results["value"].min(), results["value"].max())
    seen = f"the score is best, {best['score']:.3f}, at {best['value']:.3g}, worst, {worst['score']:.3f}, at "
    seen += f"{worst['value']:.3g}; the best value is {'inside the range' if inside else 'at an end of the range'}"
    wider = "" if inside else ", which should be wider"
    caption = f"{sentence(seen + wider)} Below, the rate of each value."
    alt = f"Two curves over {len(results)} values of {parameter}: {seen}."
    return ReportFigure("search", caption, plot_search(runs), "The search", alt)
