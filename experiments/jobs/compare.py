"""Which of several runs explains held-out images best?"""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import xarray as xr
from arviz_plots import plot_compare
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from ppvae import UserError, compare, read_posterior
from ppvae.files import replace_atomically
from ppvae.nouns import IMAGE, Noun, described_as
from ppvae.plots.labels import number

from ..provenance import environment
from ..publication import publish
from ..report import ReportFigure, Table

__all__ = ["comparison_table", "held_out_of", "run"]


def _columns(noun: Noun) -> dict[str, str]:
    """Those of ArviZ's columns that say something here, and the mean."""
    return {
        "elpd": "log p(x), sum (nats)",
        "mean": noun.a,
        "elpd_diff": "difference to the best",
        "dse": "± its standard error",
        "weight": "stacking weight",
        "diag_elpd": f"unreliable {noun.many}",
    }


def run(configuration: DictConfig, directory: Path) -> Path:
    """Compare ``runs``, directories of runs made with ``held_out.images``; writes the table, a figure and a page."""
    if not configuration.runs or len(configuration.runs) < 2:
        raise UserError("compare needs two runs or more; give runs=[runs/NAME/TIME,runs/NAME/TIME]")
    found = {name: held_out_of(Path(where)) for name, where in _named(configuration.runs).items()}
    compared = compare(found)
    replace_atomically(directory / "results.csv", lambda path: compared.to_csv(path))
    first = next(iter(found.values()))
    noun = described_as(first.attrs["data"])
    return publish(
        directory,
        title="Comparison of runs",
        lead=f"log p(x) of the same held-out {noun.many} by importance sampling from each run's guide.",
        table=comparison_table(compared, first.sizes["image"], noun),
        configuration=OmegaConf.to_yaml(configuration),
        facts={"data": first.attrs["data"], **environment(configuration.seed)},
        figures=lambda: [_figure(compared, noun)],
    )


def held_out_of(directory: Path) -> xr.Dataset:
    """log p(x) of each test image of a run; UserError where it measured none."""
    where = directory / "held_out.zarr"
    if not where.is_dir():
        most = "at most the images of the test split or the validation"
        raise UserError(f"{directory} has no held_out.zarr; train it with held_out.images=N to compare it, {most}")
    return read_posterior(where).to_dataset().load()


def comparison_table(compared: pd.DataFrame, images: int, noun: Noun = IMAGE) -> Table:
    """A row a run, the best first."""
    columns, rows = _columns(noun), []
    for name, row in compared.iterrows():
        cells = {**row, "mean": row["elpd"] / images}
        rows.append([str(name), *(_cell(cells[column]) for column in columns)])
    caption = (
        f"Sums over {images} {noun.many}. The differences' standard errors are taken {noun.one} by {noun.one} and know "
        "nothing of other training seeds."
    )
    return Table(f"log p(x) of held-out {noun.many}", ["run", *columns.values()], rows, caption)


def _cell(value: float | str) -> str | None:
    if isinstance(value, str):
        return value or None
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def _named(runs: list[str]) -> dict[str, str]:
    """Each run by what sets it apart: the last part of its path, or more where that is shared or a time alone."""
    paths = {run: Path(run).parts for run in runs}
    longest = max(map(len, paths.values()))
    for length in range(1, longest + 1):
        names = ["/".join(parts[-length:]) for parts in paths.values()]
        told = length == longest or all(any(map(str.isalpha, name)) for name in names)
        if told and len(set(names)) == len(runs):
            return dict(zip(names, runs, strict=True))
    raise UserError(f"runs names one directory twice: {', '.join(runs)}")


def _figure(compared: pd.DataFrame, noun: Noun) -> ReportFigure:
    best, second = compared.iloc[0], compared.iloc[1]
    behind, error = abs(second["elpd_diff"]), second["dse"]
    seen = f"Best is {best.name}; the next, {second.name}, is {number(behind)} ± {number(error, 2)} nats behind."
    caption = f"{seen} Differences in log p(x), summed over the {noun.many} (ArviZ's plot_compare)."
    alt = f"A dot a run, the best on top, with a bar of its standard error. {seen}"
    return ReportFigure("compare", caption, _drawn(compared), "Differences", alt)


def _drawn(compared: pd.DataFrame) -> Figure:
    with mpl.rc_context({"backend": "agg"}):
        collection = plot_compare(compared, backend="matplotlib")
    figure = collection.viz["figure"].item()
    figure.set_size_inches(8.2, 1.6 + 0.4 * len(compared))
    figure.set_layout_engine("constrained")
    return figure
