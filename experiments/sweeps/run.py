"""A sweep from its members' overrides to its table and page."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from ppvae import UserError
from ppvae.errors import check_choice, one_line
from ppvae.files import locked, replace_atomically

from ..configuration_folders import check_composed
from ..launching import Members, check_workers, launch
from ..members import metrics_of, outcome_of, say_what_is_left
from ..own_names import named
from ..subcommands import nearest
from ..training import RUNNING, check_same_configuration
from .names import name_members, varied_keys
from .page import METRICS, publish_sweep
from .task import Scores, own_configuration, run_member

__all__ = ["collect", "run_sweep"]


def run_sweep(members: Sequence[Sequence[str]], config: DictConfig, loader: ConfigLoader) -> Path:
    """Run what is missing of the members, in parallel processes, then write ``sweep.csv`` and the page ``sweep.html``.

    members: the overrides of each; config: the sweep's own configuration, Hydra's part included. In a folder where the
    sweep has begun, what is done stays, what was interrupted continues, what failed is tried again.
    Errors: :class:`~ppvae.errors.UserError` before any training for what no member could do, and after all, with table
    and page written, where members failed or are missing.
    """
    _check(config)
    directory, named = Path(config.hydra.sweep.dir), name_members(members)
    for name, overrides in named.items():
        own = own_configuration(loader.load_sweep_config(config, list(overrides)))
        check_composed(own)
        _check_job(own.job)
        check_same_configuration(own, directory / name, may_change=RUNNING)
    with locked(directory):
        replace_atomically(directory / "multirun.yaml", lambda path: OmegaConf.save(config, path))
        failure = launch(named, run_member, directory, config, config.workers)
    table = collect(named, directory)
    replace_atomically(directory / "sweep.csv", lambda path: table.to_csv(path, index=False))
    page = publish_sweep(table, varied_keys(members), config, directory)
    left = {name: outcome for name in named if (outcome := outcome_of(directory / name)).state != "done"}
    if failure or left:
        raise UserError(say_what_is_left(left, len(named), directory, failure))
    return page


def _check(config: DictConfig) -> None:
    wanted = config.sweep
    if not OmegaConf.is_dict(wanted) or not OmegaConf.is_list(wanted.get("metrics")):
        raise UserError(f"sweep={wanted}: expected lists of what to show, such as sweep.metrics=[rate,mig]")
    for metric in wanted.metrics:
        if metric not in METRICS:
            near = nearest(str(metric), METRICS, "there is no such metric.")
            raise UserError(f"sweep.metrics={metric}: {near} ppvae list metrics lists all {len(METRICS)}")
    check_choice("sweep.preset", wanted.get("preset"), ("quick", "locatello"))
    check_workers(config.workers)


@cache
def _check_job(job: str) -> None:
    try:
        named(job)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"job={job}: {one_line(error)}") from None


def collect(members: Members, directory: Path) -> pd.DataFrame:
    """A row a member: its folder, state, overrides, numbers, seconds, and the line of its error."""
    table = pd.DataFrame([_row(name, overrides, directory / name) for name, overrides in members.items()])
    return table[[*table.columns.drop("error"), "error"]]


def _row(name: str, overrides: Sequence[str], directory: Path) -> dict[str, Any]:
    outcome, scores = outcome_of(directory), Scores.of(directory)
    row = {"member": name, "state": outcome.state}
    row |= dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    if outcome.state == "done":
        row |= metrics_of(directory) | (scores.values if scores else {})
    why = "; ".join(f"{metric}: {reason}" for metric, reason in scores.why.items()) if scores else ""
    return row | {"error": outcome.error or why}
