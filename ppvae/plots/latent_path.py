"""Where each latent enters as the weight of the rate falls."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ppvae.plots.colours import Colours, distinct
from ppvae.plots.labels import coordinate, latent_names, spread, tick
from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.style import ACCENT, FAINT, INK, MUTED, finish, house_style, new_figure

__all__ = ["plot_latent_path"]

NAMED = 12  # latents at most that are named at their lines' ends, the most informative
SAID = 0.1  # nats at the end from which a line is named
GAP = 0.052  # of the axes' height between two names


@house_style()
def plot_latent_path(path: xr.Dataset, plateau: xr.Dataset | None = None) -> Figure:
    """Above, the KL of each latent over the weights, from strong to weak, as coefficients along a regularisation path;
    below, how many latents each rule counts, with the plateau shaded, and the reconstruction error.

    path: of :func:`ppvae.path`: ``kl`` (level, latent), or ``signal_to_noise`` of a code with one KL, the boolean rules
    ``by_kl``, ``by_ablation`` and coordinate ``noise`` (or ``weight``) over level; optionally ``explained`` (factor,
    level, latent), by which a latent that is in has the colour and name of the factor that it tells most of where the
    plateau, or the path, ends; ``error`` (level). plateau: ``first`` and ``last`` level, ``count``, as
    :func:`ppvae.selection.chosen_plateau` gives them. UserError for missing variables or other dims.
    """
    told, said = _information(path)
    counts = [name for name in ("by_ablation", "by_kl", "by_relevance") if name in require_dataset(path, "path")]
    weights, label = _weights(path)
    figure = new_figure(8.4, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
    judged = int(plateau["last"]) if plateau is not None else path.sizes["level"] - 1
    colours, names = _told(path, judged)
    for line, colour, name in zip(told.values.T, colours, names, strict=True):
        above.plot(weights, line, color=colour, linewidth=1.0 if colour == MUTED else 1.8, label=name)
    _name_lines(above, told.values[-1], names, colours)
    above.set(ylabel=f"{said} of each latent (nats)", ylim=(0, None))
    for name, colour, dashes in zip(counts, (INK, ACCENT, MUTED), ("-", (0, (1, 2)), (0, (4, 3))), strict=False):
        drawn = require_variable(path, name, ("level", "latent"), "path").sum("latent")
        below.step(weights, drawn, where="mid", color=colour, linestyle=dashes, label=name.replace("_", " "))
    below.set(ylabel="latents in", xlabel=label, ylim=(0, path.sizes["latent"] + 0.5))
    below.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _weight_axis(below, weights)
    _errors(below, path, weights)
    if plateau is not None:
        _shade(above, below, weights, plateau)
    below.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8.5, borderaxespad=0.1)
    for axes in (above, below):
        axes.grid(axis="y")
    return finish(figure)


def _information(path: xr.Dataset) -> tuple[xr.DataArray, str]:
    """Of each latent, and what it is: its KL, or what a normal channel of its signal-to-noise ratio tells where the
    code has one KL as a whole."""
    if "kl" not in require_dataset(path, "path") and "signal_to_noise" in path:
        ratio = require_variable(path, "signal_to_noise", ("level", "latent"), "path")
        return 0.5 * np.log1p(ratio), "½ log(1 + signal / noise)"
    return require_variable(path, "kl", ("level", "latent"), "path"), "KL"


def _weights(path: xr.Dataset) -> tuple[np.ndarray, str]:
    if "noise" in path.coords:
        return path["noise"].values, "σ√β, grey levels (strong weight of the rate to the left)"
    weight = require_dataset(path, "path").coords.get("weight", xr.DataArray(np.arange(path.sizes["level"], 0, -1)))
    return weight.values, "weight of the rate, from strong to weak"


def _weight_axis(axes: Axes, weights: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.set_xlim(weights[0] * 1.04, weights[-1] / 1.04)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _told(path: xr.Dataset, level: int) -> tuple[Colours, list[str]]:
    """By latent a colour and a name: of the factor it tells most of, where it is in at this level; grey if it is not.

    Without factors, or with one alone, each latent that is in has a colour of its own.
    """
    rule = next((name for name in ("by_ablation", "by_kl", "by_relevance") if name in path), None)
    latents = path.sizes["latent"]
    into = path[rule].values[level] if rule else np.ones(latents, bool)
    names, colours = latent_names(path), [MUTED] * latents
    if "explained" not in path or path.sizes["factor"] < 2:  # a label alone tells no two apart
        for latent, colour in zip(np.flatnonzero(into), distinct(int(into.sum())), strict=True):
            colours[latent] = colour
        return colours, names
    told = require_variable(path, "explained", ("factor", "level", "latent"), "path").values[:, level]
    factors, palette = coordinate(path["explained"], "factor"), distinct(path.sizes["factor"])
    for latent in np.flatnonzero(into):
        best = int(np.argmax(told[:, latent]))
        names[latent], colours[latent] = f"{names[latent]} {factors[best]}", palette[best]
    return colours, names


def _name_lines(axes: Axes, ends: np.ndarray, names: list[str], colours: Colours) -> None:
    """Names right of the lines' ends, moved apart, of those that say something there."""
    shown = [latent for latent in np.argsort(-ends, kind="stable")[:NAMED] if ends[latent] > SAID]
    top = max(float(ends.max()), 1e-9)
    places = spread(ends[shown] / (1.05 * top), GAP, 0.0, 1.0)
    axes.set_ylim(0, 1.05 * top)
    for latent, place in zip(shown, places, strict=True):
        axes.text(
            1.015, place, names[latent], color=colours[latent], fontsize=8.5, va="center", transform=axes.transAxes
        )


def _errors(axes: Axes, path: xr.Dataset, weights: np.ndarray) -> None:
    if "error" not in path:
        return
    right = axes.twinx()
    right.plot(weights, require_variable(path, "error", ("level",), "path"), color=ACCENT, linewidth=1.2)
    right.set_ylabel(path["error"].attrs.get("long_name", "RMSE of a pixel"), color=ACCENT)
    right.set_ylim(0, None)
    right.tick_params(axis="y", colors=ACCENT)
    right.spines["right"].set_visible(False)


def _shade(above: Axes, below: Axes, weights: np.ndarray, plateau: xr.Dataset) -> None:
    first, last = int(plateau["first"]), int(plateau["last"])
    for axes in (above, below):
        axes.axvspan(weights[first], weights[last], color=FAINT, alpha=0.6, zorder=0, linewidth=0)
    middle = (weights[first] * weights[last]) ** 0.5
    said = f"{int(plateau['count'])} latents" if int(plateau["count"]) != 1 else "1 latent"
    above.text(
        middle, 0.985, said, ha="center", va="top", transform=above.get_xaxis_transform(), color=INK, fontsize=9.5
    )
