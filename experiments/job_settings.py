"""What the house's jobs ask of their own keys: looked at before anything is composed or trained for them."""

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig

from ppvae.errors import UserError, check_whole

__all__ = ["check_job_settings"]


def check_job_settings(configuration: DictConfig) -> None:
    """UserError where the keys of the configuration's job are missing, empty or of another kind."""
    _check_selection(configuration)
    check = CHECKS.get(configuration.job)
    if check is not None:
        check(configuration)


def _check_selection(configuration: DictConfig) -> None:
    """``select`` is for what trains as the main job does; our others would pass it over."""
    named = [str(name) for name in (configuration.job, configuration.get("measure"))]
    others = [name for name in named if name.startswith("experiments.") and name not in SELECTING]
    if configuration.get("select") is not None and others:
        raise UserError(f"select: {others[0]} does not train as the main job does, which selects; leave it out")


def _check_study(study: DictConfig) -> None:
    seeds = study.get("seeds")
    _check(isinstance(seeds, ListConfig) and len(seeds) > 0, "seeds", seeds, "a list of whole numbers, as [0,1,2]")
    for seed in seeds:
        check_whole("seeds: each", seed, 0)
    _check(len(set(seeds)) == len(seeds), "seeds", seeds, "each of them once")
    if study.get("workers") is not None:
        check_whole("workers", study.workers, 1)
    models = study.get("models")
    _check(isinstance(models, DictConfig) and len(models) > 0, "models", models, "names with lists of overrides")
    for name, overrides in models.items():
        _check(_words(overrides), f"models.{name}", overrides, "a list of overrides, as [prior=normal]")
    metrics, paper = study.get("metrics"), study.get("paper")
    _check(metrics is None or _words(metrics), "metrics", metrics, "a list of names, or null for all")
    _check(isinstance(paper, DictConfig | None), "paper", paper, "metrics with a number for each model")
    for metric, numbers in (paper or {}).items():
        _check(isinstance(numbers, DictConfig), f"paper.{metric}", numbers, "a number for each model")
    _check(isinstance(study.get("title"), str), "title", study.get("title"), "words")
    for key in ("figures", "measure", "prepare"):
        name = study.get(key)
        _check(isinstance(name, str | None), key, name, "the import path of a function, or null")


def _check_choice(choice: DictConfig) -> None:
    for key in ("search", "score"):
        _check(isinstance(choice.get(key), DictConfig), key, choice.get(key), "its keys, as choose_beta.yaml has them")
    for group, key in (("search", "parameter"), ("score", "metric")):
        _check(isinstance(choice[group].get(key), str), f"{group}.{key}", choice[group].get(key), "a name")


def _check_comparison(comparison: DictConfig) -> None:
    runs = comparison.get("runs")
    _check(runs is None or _words(runs), "runs", runs, "folders, as [runs/NAME/TIME,runs/NAME/TIME]")


def _words(value: Any) -> bool:
    return isinstance(value, ListConfig) and all(isinstance(word, str) for word in value)


def _check(right: bool, key: str, value: Any, expected: str) -> None:
    if not right:
        shown = "null" if value is None else str(value)
        raise UserError(f"{key}={shown[:60]}: expected {expected}")


SELECTING = (
    *("experiments.jobs.single.run", "experiments.jobs.study.run", "experiments.jobs.choose.run"),
    *("experiments.jobs.lossy.train_and_look", "experiments.jobs.single.train_and_report"),
)
CHECKS: Mapping[str, Callable[[DictConfig], None]] = {
    "experiments.jobs.study.run": _check_study,
    "experiments.jobs.choose.run": _check_choice,
    "experiments.jobs.compare.run": _check_comparison,
}
