"""The page of a sweep: a table by setting, what is missing and why, and each metric against what was changed."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import xarray as xr
from omegaconf import DictConfig, OmegaConf

from ppvae.metrics import DISENTANGLEMENT_METRICS
from ppvae.nouns import IMAGE, Noun
from ppvae.plots import plot_sweep
from ppvae.plots.labels import number

from ..cells import listed, mean_and_deviation, noun_of_runs, surrogate_sentence
from ..meanings import metric_names
from ..provenance import environment
from ..publication import publish
from ..report import ReportFigure, Table
from ..seen import sentence
from ..training import TRAINED

__all__ = ["METRICS", "axis_of", "labels_of", "publish_sweep", "settings_table"]

METRICS = tuple(dict.fromkeys([*metric_names(), *TRAINED, *DISENTANGLEMENT_METRICS]))  # what sweep.metrics may name
LONGEST = 24  # characters of a value in a figure


def publish_sweep(members: pd.DataFrame, varied: Sequence[str], config: DictConfig, directory: Path) -> Path:
    """Write ``table.md`` and ``sweep.html`` beside ``sweep.csv``; returns the page.

    members: a row a member, as :func:`experiments.sweeps.run.collect` makes it; varied: the keys that were changed.
    """
    labels = labels_of(config.sweep.metrics, noun_of_runs(members))
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    seeds = members["seed"].unique().tolist() if "seed" in members else config.seed
    data = listed(members["data"].dropna().unique()) if "data" in members else "unknown, as no member is done"
    left = members[members["state"] != "done"]
    rows = left[["member", "state", "error"]].values.tolist()
    words = "What a member printed, tracebacks too, is in output.log of its folder."
    more = [Table("Members not done", ["member", "state", "why"], rows, words)] if rows else []
    done = f"{len(members) - len(left)} of {len(members)} members are done"
    return publish(
        directory,
        title=f"{config.name or 'sweep'} over {', '.join(varied) or 'one run'}".replace("_", " "),
        lead=f"{done}: by setting, mean ± standard deviation over seeds.{_preset(config)} A row a member: sweep.csv.",
        table=settings_table(members, varied, labels),
        more=more,
        configuration=OmegaConf.to_yaml(own),
        facts={"data": data, **environment(seeds)},
        figures=lambda: _figures(members, varied, labels),
        page="sweep",
    )


def labels_of(metrics: Sequence[str], noun: Noun = IMAGE) -> dict[str, str]:
    """What the chosen metrics are called."""
    computed = {name: name.upper() if len(name) == 3 else name.replace("_", " ") for name in DISENTANGLEMENT_METRICS}
    return {name: (computed | metric_names(noun) | TRAINED)[name] for name in metrics}


def _preset(config: DictConfig) -> str:
    computed = [label for name, label in labels_of(config.sweep.metrics).items() if name in DISENTANGLEMENT_METRICS]
    return f" {listed(computed)}: of the mean codes, preset {config.sweep.preset}." if computed else ""


def settings_table(members: pd.DataFrame, varied: Sequence[str], labels: dict[str, str]) -> Table:
    """A row a setting, which is all that was changed but the seed: how many members are done, mean ± deviation."""
    keys = [key for key in varied if key != "seed"]
    groups = members.groupby(keys, sort=False, dropna=False) if keys else [((), members)]
    rows, missing = [], []
    for setting, runs in groups:
        done = runs[runs["state"] == "done"]
        cells = [mean_and_deviation(pd.to_numeric(done[name])) if name in done else None for name in labels]
        rows.append([*setting, f"{len(done)} of {len(runs)}", *cells])
        lacking = [label for cell, label in zip(cells, labels.values(), strict=True) if cell is None]
        if lacking and len(done):
            missing.append(f"{', '.join(map(str, setting)) or 'these runs'} without {listed(lacking)}")
    caption = "Mean ± standard deviation over the members that are done." + surrogate_sentence(members, "member")
    left = members.loc[members["state"] != "done", "member"].tolist()
    caption += f" Not done: {listed(left)}." if left else ""
    caption += f" Not measured: {'; '.join(missing)}.{_reasons(members)}" if missing else ""
    return Table("By setting", [*keys, "members done", *labels.values()], rows, caption)


def _reasons(members: pd.DataFrame) -> str:
    reasons = members.loc[(members["state"] == "done") & (members["error"] != ""), "error"].unique().tolist()
    return f" ({'; '.join(reasons)}.)" if reasons else ""


def _figures(members: pd.DataFrame, varied: Sequence[str], labels: dict[str, str]) -> list[ReportFigure]:
    keys = [key for key in varied if key != "seed"]
    done = members[members["state"] == "done"]
    shown = {name: pd.to_numeric(done[name]) for name in labels if name in done and done[name].notna().any()}
    if not keys or not shown:
        return []
    across = axis_of(done, keys)
    others = [key for key in keys if key != across]
    runs = xr.Dataset({name: ("run", values, _named(labels[name])) for name, values in shown.items()})
    numbers = pd.to_numeric(done[across], errors="coerce")
    values = numbers if numbers.notna().all() else [_shown(value) for value in done[across]]
    runs = runs.assign_coords(value=("run", values, {"long_name": across}))
    if others:
        words = [", ".join(f"{key}={_shown(row[key])}" for key in others) for _, row in done.iterrows()]
        runs = runs.assign_coords(series=("run", words))
    seen = sentence("; ".join(_range(runs[name], across) for name in shown))
    caption = f"{seen} A dot a member, the mean of each setting joined by a line"
    caption += f", a line for each value of {' and '.join(others)}." if others else "."
    alt = f"A panel a metric, {len(shown)} in all, with a dot for each of {runs.sizes['run']} members. {seen}"
    return [ReportFigure("metrics", caption, plot_sweep(runs), f"What {across} changes", alt)]


def _range(metric: xr.DataArray, across: str) -> str:
    """At which value of what was changed a metric's mean is lowest and highest, where it differs by more than members
    of one value do."""
    groups = metric.to_series().groupby(metric["value"].values, sort=False)
    means, within = groups.mean().dropna(), math.sqrt(groups.var().mean())  # of values with two members or more
    name = metric.attrs["long_name"]
    if means.min() == means.max():
        return f"{name} is {number(float(means.min()))} throughout"
    low, high = means.idxmin(), means.idxmax()
    least, most = (number(float(means[at])) for at in (low, high))
    if means.max() - means.min() < within:
        return f"{name} differs less by {across}, {least} to {most}, than among runs of one, ± {number(within)}"
    return f"{name} is lowest, {least}, at {across}={_shown(low)} and highest, {most}, at {across}={_shown(high)}"


def _shown(value: object) -> str:
    """A value as long as a legend can hold; its end, too, as what sets long ones apart is often there."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:12]}…{text[-11:]}"


def axis_of(members: pd.DataFrame, keys: Sequence[str]) -> str:
    """The key to be the x axis: of those whose values are all numbers the one with most of them, else the first."""
    counts = {key: members[key].nunique() for key in keys if pd.to_numeric(members[key], errors="coerce").notna().all()}
    return max(counts, key=counts.__getitem__) if counts else keys[0]


def _named(label: str) -> dict[str, str]:
    """``rate (nats)`` as a title and a unit."""
    found = re.fullmatch(r"(.*) \(([^()]*)\)", label)
    return {"long_name": found[1], "units": found[2]} if found else {"long_name": label, "units": ""}
