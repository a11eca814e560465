"""A run once more: the same configuration in a new folder, and its numbers beside the first ones."""

import json
import math
from pathlib import Path
from typing import Any, cast

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ppvae.errors import UserError
from ppvae.files import replace_atomically

from .configuration_files import load_configuration
from .folders import check_run
from .provenance import environment
from .record import read_record
from .report import Table

__all__ = ["compared", "numbers_of", "rerun"]

TIMES = {"seconds", "images_per_second", "execution_seconds"}  # what no two runs share
BESIDE = ("rerun", "allow", "name")  # words that may be given
SAME = (  # what may explain a difference
    *("commit", "machine", "python", "ppvae"),
    *("torch", "pyro-ppl", "lightning-fabric"),
)


def rerun(configuration: DictConfig, directory: Path) -> Table:
    """Repeat the run that ``rerun`` names, in ``directory``, and print its numbers beside those of the first time."""
    from .command import job_of

    first = _first(configuration)
    before = numbers_of(first)
    again = load_configuration(first / "config.yaml", configuration)
    again = cast(DictConfig, OmegaConf.merge(again, {"resume": None, "rerun": None}))
    job_of(again)(again, directory)
    table = compared(before, numbers_of(directory))
    text = f"{table.as_markdown()}\n\n{_said(table, first, directory)}\n"
    replace_atomically(directory / "rerun.md", lambda path: path.write_text(text))
    print(text, end="")
    return table


def _first(configuration: DictConfig) -> Path:
    if configuration.resume is not None:
        raise UserError("resume goes on with a run, rerun begins it anew; give one of them")
    words = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    others = [word for word in words if word.split("=")[0].lstrip("+") not in BESIDE]
    if others:
        raise UserError(f"rerun repeats a run as it was; leave {others[0]} out")
    first = check_run("rerun", configuration.rerun)
    for name in ("config.yaml", "metrics.json"):
        if not (first / name).is_file():
            raise UserError(f"rerun={first}: there is no {name}; give the folder of one finished run, not of a study")
    return first


def numbers_of(directory: Path) -> dict[str, float]:
    """A run's metrics, and its history's last row, by name; without the times."""
    metrics = json.loads((directory / "metrics.json").read_text())
    last = pd.read_csv(directory / "history.csv").iloc[-1].to_dict() if (directory / "history.csv").is_file() else {}
    named = metrics | {f"last epoch: {name}": value for name, value in last.items() if name != "epoch"}
    return {
        name: float(value)
        for name, value in named.items()
        if _is_number(value) and name.removeprefix("last epoch: ") not in TIMES
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compared(before: dict[str, float], after: dict[str, float]) -> Table:
    """A row a number: what it was, what it is, and the difference."""
    rows = []
    for name in [*before, *(name for name in after if name not in before)]:
        then, now = before.get(name), after.get(name)
        same = then == now or (then is not None and now is not None and math.isnan(then) and math.isnan(now))
        rows.append((name, then, now, 0.0 if same else None if then is None or now is None else now - then))
    return Table("The run and its repetition", ("number", "first", "again", "difference"), rows)


def _said(table: Table, first: Path, directory: Path) -> str:
    differ: dict[Any, Any] = {row[0]: row[3] for row in table.rows if row[3] != 0}
    if not differ:
        return "The same numbers."
    largest = max(differ, key=lambda name: abs(differ[name] or math.inf))
    size = differ[largest]
    much = "it is in one of them only" if size is None else f"by {size:.3g}"
    return f"{len(differ)} of {len(table.rows)} numbers differ, most of all {largest}: {much}.{_why(first, directory)}"


def _why(first: Path, directory: Path) -> str:
    """What differs between the machines and versions, as far as both are recorded."""
    then = read_record(first)
    now = read_record(directory) or environment(then.get("seed", 0))
    changes = [f"{name} {then[name]} → {now[name]}" for name in SAME if name in then and then[name] != now.get(name)]
    return f" Since the first: {', '.join(changes)}." if changes else ""
