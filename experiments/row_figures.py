"""What a run on a table keeps and shows: its scaling, the imputed table, and rows as curves and heat maps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from omegaconf import DictConfig

from ppvae import impute, write_posterior
from ppvae.datasets import ImageDataset, Rows, in_units
from ppvae.files import replace_atomically
from ppvae.interventions.held import images_of
from ppvae.plots import plot_row_traversals, plot_rows, plot_table
from ppvae.plots.labels import latent_names, number

from .assemble import Parts
from .evaluation import Evaluation
from .figures import named
from .report import ReportFigure, Table

__all__ = ["figures_of_rows", "imputed", "is_table", "keep_columns", "rows_table"]

CURVES, LINES, LATENTS = 6, 60, 12  # rows as curves, rows of a heat map, latents that move a row
LISTED = 40  # columns of the report's table
ALIKE = 5  # times as large at most is the largest scale of columns that share an axis in their own units
STILL = 0.01  # change of an entry, of its column's scale, that nobody sees


def is_table(data: ImageDataset) -> bool:
    """Whether the images are rows of a table."""
    return isinstance(data.images, Rows)


def keep_columns(data: ImageDataset, directory: Path) -> None:
    """``columns.csv``: the names, and the scaling that was taken off; nothing for images."""
    if isinstance(rows := data.images, Rows):
        scaling = rows.scaling
        table = pd.DataFrame({"column": rows.columns, "center": scaling.center, "scale": scaling.scale})
        replace_atomically(directory / "columns.csv", lambda path: table.to_csv(path, index=False))


def imputed(parts: Parts, configuration: DictConfig, directory: Path) -> xr.Dataset | None:
    """``imputed.csv``, the table with its missing entries filled, and ``imputed.zarr``, with intervals, for all rows.

    None for images, and for a table without gaps.
    """
    wanted = configuration.get("imputation")
    sets = [data for data in (parts.data, parts.validation) if data is not None]
    if wanted is None or not any(isinstance(rows := data.images, Rows) and rows.missing for data in sets):
        return None
    found = [impute(parts.model, parts.guide, data, **_options(configuration)) for data in sets]
    whole = xr.concat(found, "image", combine_attrs="drop_conflicts").sortby("image")
    write_posterior(xr.DataTree(whole), directory / "imputed.zarr")
    frame = whole["completed"].to_pandas().rename_axis(index="row", columns=None)
    replace_atomically(directory / "imputed.csv", lambda path: frame.to_csv(path))
    return whole


def _options(configuration: DictConfig) -> dict[str, Any]:
    """How the configuration imputes; of a run before there was any, as ``impute`` does by itself."""
    return {**(configuration.get("imputation") or {}), "seed": configuration.seed}


def figures_of_rows(parts: Parts, evaluation: Evaluation, configuration: DictConfig) -> Iterator[ReportFigure]:
    """Curves with bands, heat maps and traversals of rows, in the columns' own units; none for images."""
    if not is_table(parts.data):
        return
    few = parts.data.subset(slice(min(LINES, evaluation.tree["sample_stats"].sizes["image"])))
    drawn = impute(parts.model, parts.guide, few, **_options(configuration))
    rows = few.to_xarray()["rows"]
    like = images_of(evaluation.tree)
    yield _curves(rows, drawn, like)
    yield _heat_maps(rows, drawn)
    for site, traversal in evaluation.traversals.items():
        yield _traversal(traversal, like, *named("traversals", "Traversals", site, evaluation))


def _curves(rows: xr.DataArray, drawn: xr.Dataset, like: xr.DataArray) -> ReportFigure:
    """The first rows, and whether their entries lie where the posterior draws them anew."""
    few, drawn = rows.isel(image=slice(CURVES)), drawn.isel(image=slice(CURVES))
    there = few.notnull().values
    held = ((few.values >= drawn["lower"].values) & (few.values <= drawn["upper"].values))[there]
    seen = f"of {held.size} entries that are there {held.sum()} lie in their band"
    missing = int((~there).sum())
    caption = (
        f"{seen.capitalize()}, the {100 * drawn.attrs['interval']:g} % interval of each as drawn anew from the "
        f"posterior given what is observed of the row; the line is the mean. {_units(like)}"
    )
    caption += f" Entries without a dot, {missing}, are missing." if missing else ""
    alt = f"{len(few)} panels of dots with a line and a band over {_columns(few)}: {seen}."
    figure = plot_rows(_on_one_axis(few, like), _on_one_axis(drawn[["mean", "lower", "upper"]], like))
    return ReportFigure("rows", caption, figure, "Rows and what the model makes of them", alt)


def _heat_maps(rows: xr.DataArray, drawn: xr.Dataset) -> ReportFigure:
    """The table beside its reconstruction, and which columns the latents tell."""
    told = 1 - ((drawn["mean"] - rows) ** 2).mean("image") / rows.var("image").where(lambda spread: spread > 0)
    names = rows["column"].values
    ranked = [k for k in np.argsort(-told.values) if np.isfinite(told.values[k])]
    shares = [f"{names[k]} ({f'{told.values[k]:.0%}'.replace('-', '−')})" for k in ranked]
    seen = f"of how the rows differ the mean tells most in {shares[0]}" if shares else "no column differs"
    seen += f", least in {shares[-1]}" if len(shares) > 1 else ""
    missing = float(rows.isnull().mean())
    caption = (
        f"The first {len(rows)} training rows, a line each, beside the model's mean given what is observed of them: "
        f"{seen}."
    )
    caption += f" Grey, {missing:.1%} of the entries, is missing." if missing else ""
    alt = f"Two heat maps of {len(rows)} rows by {_columns(rows)}: {seen}."
    drawing = plot_table({"observed": rows, "posterior mean": drawn["mean"]}, most=LINES)
    return ReportFigure("table", caption, drawing, "The table and its reconstruction", alt)


def _traversal(traversal: xr.DataArray, like: xr.DataArray, name: str, title: str) -> ReportFigure:
    """One row as latents move, and which moves it most, in the columns' own units."""
    moved = in_units(traversal, like)
    change = abs(moved.isel(step=-1) - moved.isel(step=0)).values / like["column_scale"].values
    latent, column = np.unravel_index(int(change.argmax()), change.shape)
    moving = int((change > STILL).any(1).sum())
    seen = f"{moving} of {len(moved)} latents move the row between their ends"
    if moving:
        first, last = (number(float(moved[latent, step, column])) for step in (0, -1))
        seen += f", {latent_names(moved)[latent]} the most: {moved['column'].values[column]} from {first} to {last}"
    caption = f"{seen}. One row redrawn while one latent moves over the range of its codes, violet to green, by their "
    caption += f"KL. {_units(like)}"
    caption += f" The first {LATENTS} of {len(moved)}." if len(moved) > LATENTS else ""
    alt = f"{min(len(moved), LATENTS)} panels of {moved.sizes['step']} curves over {_columns(moved)}. {seen}."
    return ReportFigure(name, caption, plot_row_traversals(_on_one_axis(moved, like), most=LATENTS), title, alt)


def _on_one_axis[Array: (xr.DataArray, xr.Dataset)](array: Array, like: xr.DataArray) -> Array:
    """Rows in the columns' own units where these are alike, else with the columns' scaling taken off."""
    if _alike(like):
        return array
    center, scale = (xr.DataArray(like[name].values, dims="column") for name in ("column_center", "column_scale"))
    return (array - center) / scale


def _units(like: xr.DataArray) -> str:
    """What an axis of rows counts."""
    return "Units are the columns' own." if _alike(like) else "Units are each column's scale, from its center."


def _alike(like: xr.DataArray) -> bool:
    """Whether one axis does for all columns."""
    scales = like["column_scale"].values
    return bool(scales.max() <= ALIKE * scales.min())


def _columns(rows: xr.DataArray) -> str:
    """How many, the first and the last."""
    names = rows["column"].values
    return f"{len(names)} columns, {names[0]} to {names[-1]}" if len(names) > 1 else f"the column {names[0]}"


def rows_table(data: ImageDataset, found: xr.Dataset | None) -> list[Table]:
    """The columns with their units and gaps; those of the largest share of gaps first."""
    rows = data.images
    if not isinstance(rows, Rows):
        return []
    scaling = rows.scaling
    gaps = np.isnan(rows.values).mean(0)
    width = None if found is None else (found["upper"] - found["lower"]).where(found["missing"]).mean("image").values
    order = np.argsort(-gaps, kind="stable")[:LISTED]
    lines = [
        (str(rows.columns[k]), float(gaps[k]), float(scaling.center[k]), float(scaling.scale[k]))
        + (() if width is None else (float(width[k]),))
        for k in order
    ]
    columns = ["column", "share missing", "center", "scale"] + ([] if width is None else ["mean width of an interval"])
    caption = (
        "Center and scale were taken off before training and are undone in all figures and files of rows; nats are of "
        "the standardised columns"
    )
    if (nats := float(np.log(scaling.scale).sum())) != 0:
        caption += f": in the columns' own units log p of a whole row is less by {nats:.6g}"
    caption += "."
    if len(rows.columns) > LISTED:
        caption += f" The {LISTED} columns with the most gaps, of {len(rows.columns)}; all are in columns.csv."
    return [Table("Columns", columns, lines, caption)]
