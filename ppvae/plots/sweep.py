"""Metrics of many runs against the value that was changed: small multiples, a panel a metric."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ppvae.plots.labels import tick
from ppvae.plots.require import require_variable
from ppvae.plots.style import ACCENT, MUTED, finish, house_style, new_figure, shades

__all__ = ["plot_sweep"]

COLUMNS = 3
DECADE = 10.0  # a range of values that is drawn on a logarithmic axis
MARKERS = "osD^vPX"
MOST_WORDS = 8  # values that are no numbers, each ticked


@house_style()
def plot_sweep(runs: xr.Dataset) -> Figure:
    """A panel a metric: a point a run, and the mean of the runs of one value, joined where values are numbers.

    runs: metrics (run), NaN where one is missing, with the attributes ``long_name`` and ``units``; the coordinate
    ``value`` (run), numbers or words, whose ``long_name`` labels the x axis; optionally the coordinate ``series``
    (run), words, for lines of their own. Positive values over a decade or more are drawn logarithmically, with 0 at its
    left end. UserError for missing variables or other dims.
    """
    values = require_variable(runs.reset_coords(), "value", ("run",), "runs")
    series = require_variable(runs.reset_coords(), "series", ("run",), "runs") if "series" in runs else None
    metrics = [str(name) for name in runs.data_vars]
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    names = [""] if series is None else list(dict.fromkeys(series.values.tolist()))
    figure = new_figure(0.9 + 2.9 * columns, 0.5 + 2.35 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    positions, words = _positions(values.values)
    colours = [ACCENT] if series is None else shades(len(names))
    for axes, metric in zip(panels, metrics, strict=False):
        found = require_variable(runs, metric, ("run",), "runs")
        for name, colour, marker in zip(names, colours, cycle(MARKERS), strict=False):
            own = np.ones(len(positions), bool) if series is None else series.values == name
            _draw(axes, positions[own], found.values[own].astype(float), colour, marker, name, words is None)
        _label(axes, found, values.attrs.get("long_name", "value"), positions, words)
    for axes in panels[len(metrics) :]:
        axes.remove()
    if series is not None:
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=min(len(names), 4), frameon=False, fontsize=9)
    return finish(figure)


def _positions(values: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Numbers as they are; words at 0, 1, … in the order met, and the words."""
    if np.issubdtype(values.dtype, np.number):
        return values.astype(float), None
    words = list(dict.fromkeys(map(str, values.tolist())))
    return np.array([float(words.index(str(value))) for value in values.tolist()]), words


def _draw(
    axes: Axes, positions: np.ndarray, found: np.ndarray, colour: object, marker: str, name: str, joined: bool
) -> None:
    known = np.isfinite(found)
    axes.plot(positions[known], found[known], marker, color=colour, markersize=4.5, alpha=0.6, markeredgewidth=0)
    places = np.unique(positions)
    at = [found[known & (positions == place)] for place in places]
    means = [some.mean() if some.size else np.nan for some in at]  # a gap where nothing is known
    line = "-" if joined else "none"
    axes.plot(places, means, color=colour, marker=marker, markersize=5.5, fillstyle="none", linestyle=line, label=name)


def _label(axes: Axes, found: xr.DataArray, across: str, positions: np.ndarray, words: Sequence[str] | None) -> None:
    axes.set_title(found.attrs.get("long_name", found.name))
    axes.set_ylabel(found.attrs.get("units", ""))
    axes.set_xlabel(across)
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    if not np.isfinite(found.values.astype(float)).any():
        axes.annotate("no values", (0.5, 0.5), xycoords="axes fraction", ha="center", color=MUTED)
    if words is not None:
        axes.set_xlim(-0.5, len(words) - 0.5)
        axes.set_xticks(range(len(words)), words, rotation=0 if len(words) < 4 else 30, ha="center")
        return
    _scale(axes, np.unique(positions))


def _scale(axes: Axes, places: np.ndarray) -> None:
    """Logarithmic where positive values span a decade, and ticks at the values themselves where they are few."""
    positive = places[places > 0]
    if len(positive) > 1 and places.min() >= 0 and positive.max() >= DECADE * positive.min():
        scale = {"value": "log"} if len(positive) == len(places) else {"value": "symlog", "linthresh": positive.min()}
        axes.set_xscale(**scale)
        axes.xaxis.set_minor_locator(NullLocator())
    if len(places) <= MOST_WORDS:
        axes.xaxis.set_major_locator(FixedLocator(places.tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.margins(x=0.08)
