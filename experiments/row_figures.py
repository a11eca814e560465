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

from .assemble import Parts
from .evaluation import Evaluation
from .report import ReportFigure, Table

__all__ = ["figures_of_rows", "imputed", "is_table", "keep_columns", "rows_table"]

CURVES, LINES, LATENTS = 6, 60, 12  # rows as curves, rows of a heat map, latents that move a row
LISTED = 40  # columns of the report's table


def is_table(data: ImageDataset) -> bool:
    """Whether the images are rows of a table."""
    return isinstance(data.images, Rows)


def keep_columns(data: ImageDataset, directory: Path) -> None:
    """``columns.csv``: the names, and the scaling that was taken off; nothing for images."""
    if is_table(data):
        scaling = data.images.scaling
        table = pd.DataFrame({"column": data.images.columns, "center": scaling.center, "scale": scaling.scale})
        replace_atomically(directory / "columns.csv", lambda path: table.to_csv(path, index=False))


def imputed(parts: Parts, configuration: DictConfig, directory: Path) -> xr.Dataset | None:
    """``imputed.csv``, the table with its missing entries filled, and ``imputed.zarr``, with intervals, for all rows.

    None for images, and for a table without gaps.
    """
    wanted = configuration.get("imputation")
    sets = [data for data in (parts.data, parts.validation) if data is not None]
    if wanted is None or not is_table(parts.data) or not any(data.images.missing for data in sets):
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
    yield ReportFigure(
        "rows",
        f"Training rows as dots over their columns, in their own units; the line is the mean and the band the "
        f"{100 * drawn.attrs['interval']:g} % interval of each entry as drawn anew from the posterior given what is "
        "observed of the row. Where no dot is, the entry is missing.",
        plot_rows(rows, drawn, most=CURVES),
        "Rows and what the model makes of them",
    )
    yield ReportFigure(
        "table",
        "The first training rows, a line each, beside the mean of the model given what is observed of them. Grey is "
        "missing. What differs the latents do not tell.",
        plot_table({"observed": rows, "posterior mean": drawn["mean"]}, most=LINES),
        "The table and its reconstruction",
    )
    like = images_of(evaluation.tree)
    for site, traversal in evaluation.traversals.items():
        moved = in_units(traversal, like)
        caption = "One row redrawn while one latent moves over the range of its codes, dark to light, by their KL."
        caption += f" The first {LATENTS} of {moved.sizes['latent']}." if moved.sizes["latent"] > LATENTS else ""
        several = len(evaluation.latents) > 1
        name, title = (f"traversals_{site}", f"Traversals: {site}") if several else ("traversals", "Traversals")
        yield ReportFigure(name, caption, plot_row_traversals(moved, most=LATENTS), title)


def rows_table(data: ImageDataset, found: xr.Dataset | None) -> list[Table]:
    """The columns with their units and gaps; those of the largest share of gaps first."""
    if not is_table(data):
        return []
    rows, scaling = data.images, data.images.scaling
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
