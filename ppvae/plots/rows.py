"""Rows of a table: curves with bands, heat maps, and what a latent does to a row."""

import re

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppvae.errors import UserError, check_whole
from ppvae.plots.labels import latent_names, number
from ppvae.plots.require import require_array, require_variable
from ppvae.plots.style import ACCENT, INK, MUTED, finish, house_style, new_figure, shades

__all__ = ["plot_row_traversals", "plot_rows", "plot_table"]

DIMS = ("image", "column")
GAP = "#9aa5b1"  # a missing entry among colours that fade to white
PER_LINE, WIDTH, HEIGHT = 2, 9.2, 1.7  # panels, inches of a page, of a panel
NAMED = 8  # columns of words that an axis names
NUMBER = re.compile(r"^[^\d+-]{0,3}([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*\D*$")


@house_style()
def plot_rows(observed: xr.DataArray, drawn: xr.Dataset, *, most: int = 6) -> Figure:
    """The first rows as dots over their columns, with the mean and the interval that the posterior gives each entry.

    observed (image, column), NaN where missing; drawn as from :func:`~ppvae.impute`: ``mean``, ``lower`` and ``upper``
    (image, column), in the same units. Where an entry is missing there is no dot, and the band says what it may be.
    Columns whose names are rising numbers, such as wavelengths, are an axis of these. UserError for other dims or
    another number of rows.
    """
    check_whole("most", most, 1)
    rows = require_array(observed, DIMS, "observed").isel(image=slice(most))
    mean, lower, upper = (
        require_variable(drawn, name, DIMS, "drawn").isel(image=slice(most)) for name in ("mean", "lower", "upper")
    )
    if mean.shape != rows.shape:
        raise UserError(f"drawn: got shape {mean.shape}, expected that of observed, {rows.shape}")
    at, _ = _positions(rows)
    figure, panels = _panels(len(rows))
    for place, axes in enumerate(panels):
        axes.fill_between(at, lower[place], upper[place], color=ACCENT, alpha=0.25, linewidth=0)
        axes.plot(at, mean[place], color=ACCENT, linewidth=1.1)
        axes.plot(at, rows[place], ".", color=INK, markersize=3)
        gaps = int(rows[place].isnull().sum())
        axes.set_title(f"row {rows['image'].values[place]}" + (f", {gaps} missing" if gaps else ""))
        _name_columns(axes, rows)
    return finish(figure)


@house_style()
def plot_table(tables: dict[str, xr.DataArray], *, most: int = 60) -> Figure:
    """Heat maps of the first rows side by side, one a name, each column in units of its spread in the first table.

    tables: name → (image, column) in the same units; the first gives each column's mean and standard deviation. Grey:
    missing. UserError for no table, other dims or different shapes.
    """
    check_whole("most", most, 1)
    if not tables:
        raise UserError("tables: got none, expected at least one name with rows (image, column)")
    arrays = {name: require_array(array, DIMS, name) for name, array in tables.items()}
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        if array.shape != first.shape:
            raise UserError(f"{name}: got shape {array.shape}, expected that of the first table, {first.shape}")
    center, spread = first.mean("image").values, first.std("image").values
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad=GAP)
    count = min(most, first.sizes["image"])
    figure = new_figure(WIDTH, 0.9 + min(4.5, max(1.2, 0.07 * count)))
    panels = figure.subplots(1, len(arrays), squeeze=False)[0]
    for axes, (name, array) in zip(panels, arrays.items(), strict=True):
        shown = (array.values[:count] - center) / np.where(spread > 0, spread, 1.0)
        image = axes.imshow(shown, cmap=colours, vmin=-2.5, vmax=2.5, aspect="auto", interpolation="nearest")
        axes.set_title(name)
        axes.set_xticks(*_ticks(array, np.arange(array.sizes["column"])), rotation=30, ha="right")
    panels[0].set_ylabel("row")
    figure.colorbar(image, ax=list(panels), label="standard deviations from the column's mean", pad=0.02)
    return finish(figure)


@house_style()
def plot_row_traversals(traversal: xr.DataArray, *, most: int = 12) -> Figure:
    """One row redrawn while one latent moves from low (dark) to high (light): a panel a latent, a curve a step.

    traversal (latent, step, column), in the columns' own units. UserError for other dims.
    """
    check_whole("most", most, 1)
    rows = require_array(traversal, ("latent", "step", "column"), "traversal").isel(latent=slice(most))
    at, _ = _positions(rows)
    figure, panels = _panels(rows.sizes["latent"])
    names = latent_names(rows)
    for place, axes in enumerate(panels):
        for step, colour in enumerate(shades(rows.sizes["step"])):
            axes.plot(at, rows.values[place, step], color=colour, linewidth=1.0)
        kl = f", KL {number(float(rows['kl'][place]), 2)} nats" if "kl" in rows.coords else ""
        axes.set_title(names[place] + kl)
        _name_columns(axes, rows)
    low, high = float(np.nanmin(rows)), float(np.nanmax(rows))
    for axes in panels if np.isfinite([low, high]).all() and high > low else ():
        axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))  # one scale: an idle latent looks idle
    return finish(figure)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    lines = -(-count // PER_LINE)
    figure = new_figure(WIDTH, HEIGHT * lines + 0.3)
    grid = figure.subplots(lines, PER_LINE, squeeze=False, sharex=True)
    for axes in grid.flat[count:]:
        axes.remove()
    return figure, list(grid.flat[:count])


def _positions(rows: xr.DataArray) -> tuple[np.ndarray, bool]:
    """Where the columns stand on an axis: at the rising numbers in their names, or one after another."""
    names = [NUMBER.match(str(name)) for name in rows["column"].values] if "column" in rows.coords else [None]
    if len(names) > 1 and all(names):
        values = np.array([float(match[1]) for match in names])
        if (np.diff(values) > 0).all() and len({_words(str(name)) for name in rows["column"].values}) == 1:
            return values, True
    return np.arange(rows.sizes["column"]), False


def _words(name: str) -> str:
    """A name without its number: ``nm`` of ``400 nm``."""
    return re.sub(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", "", name).strip()


def _name_columns(axes: Axes, rows: xr.DataArray) -> None:
    at, numbers = _positions(rows)
    axes.tick_params(colors=MUTED, labelbottom=True)
    if numbers:
        axes.set_xlabel(_words(str(rows["column"].values[0])))
    else:
        axes.set_xticks(*_ticks(rows, at), rotation=30, ha="right")


def _ticks(rows: xr.DataArray, at: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """A few columns with their names."""
    some = np.unique(np.linspace(0, len(at) - 1, min(NAMED, len(at))).round().astype(int))
    names = rows["column"].values if "column" in rows.coords else np.arange(len(at))
    return at[some], [str(names[index])[:16] for index in some]
