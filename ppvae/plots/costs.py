"""What a latent costs under each prior, against its signal-to-noise ratio, and where measured latents lie."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ppvae.errors import UserError
from ppvae.plots.labels import tick
from ppvae.plots.require import require_dataset, require_variable
from ppvae.plots.style import ACCENT, INK, MUTED, PAPER, finish, house_style, new_figure

__all__ = ["plot_costs"]

CURVES = {"normal": (INK, "o"), "student_t": (ACCENT, "s"), "normal_gamma": ("#c2571a", "D")}
NAMES = {"normal": "normal prior", "student_t": "Student-t bound", "normal_gamma": "Normal-Gamma joint bound"}
LEAST = 1e-2  # of ratios that are drawn, where all costs are ½S


@house_style()
def plot_costs(costs: xr.Dataset, measured: Mapping[str, xr.Dataset] | None = None) -> Figure:
    """At the left the cost of a latent, at the right that of a nat of its information, over its signal-to-noise ratio.

    costs, dim signal_to_noise, as from ``latent_costs``: ``information`` and some of ``normal``, ``student_t``,
    ``normal_gamma``, nats. measured: latents under these names, as from ``informative_latents``, with ``kl`` (nats) and
    ``signal_to_noise`` (latent), drawn as dots; ratios below 0.01 are left out. A curve that falls at the right charges
    less a nat for one latent that says more, one that rises for several that say less. UserError for missing variables,
    other dims, or measured latents of another name.
    """
    information = require_variable(require_dataset(costs, "costs"), "information", ("signal_to_noise",), "costs")
    names = [name for name in CURVES if name in costs]
    _check_names(names, measured or {})
    figure = new_figure(9.4, 4.0)
    panels = figure.subplots(1, 2, sharex=True)
    ratios = costs["signal_to_noise"].values
    for name in names:
        values = require_variable(costs, name, ("signal_to_noise",), "costs").values
        _draw(panels, ratios, values, information.values, name)
        if measured and name in measured:
            _dot(panels, measured[name], name)
    _dress(panels)
    return finish(figure)


def _check_names(names: list[str], measured: Mapping[str, xr.Dataset]) -> None:
    if not names:
        raise UserError(f"costs: no cost among its variables, expected one or more of {', '.join(CURVES)}")
    unknown = [name for name in measured if name not in names]
    if unknown:
        raise UserError(f"measured: got {', '.join(map(repr, unknown))}, expected names of costs, {', '.join(names)}")


def _draw(panels: np.ndarray, ratios: np.ndarray, values: np.ndarray, information: np.ndarray, name: str) -> None:
    label = NAMES[name] + (", the information itself" if name == "normal" else "")
    for axes, heights in zip(panels, (values, values / information), strict=True):
        axes.plot(ratios, heights, color=CURVES[name][0], label=label, zorder=2)


def _dot(panels: np.ndarray, latents: xr.Dataset, name: str) -> None:
    ratios, kl = (
        require_variable(latents, variable, ("latent",), f"measured, {name!r}").values
        for variable in ("signal_to_noise", "kl")
    )
    drawn = np.isfinite(ratios) & (ratios >= LEAST)
    ratios, kl = ratios[drawn], kl[drawn]
    colour, marker = CURVES[name]
    for axes, heights in zip(panels, (kl, kl / (0.5 * np.log1p(ratios))), strict=True):
        axes.plot(ratios, heights, marker, color=colour, markeredgecolor=PAPER, markersize=5.5, alpha=0.85, zorder=3)


def _dress(panels: np.ndarray) -> None:
    for axes, title, label in zip(
        panels, ("cost", "cost a nat of information"), ("KL, nats", "KL / ½ log(1 + S)"), strict=True
    ):
        axes.set(xscale="log", yscale="log", xlabel="signal-to-noise ratio S of the latent", ylabel=label)
        axes.set_title(title)
        axes.grid()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
            axis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        axes.tick_params(which="minor", length=0)
    _limits(panels[1])
    panels[0].legend(frameon=False, fontsize=8.5, labelcolor=MUTED, loc="upper left")


def _limits(axes: Axes) -> None:
    """From just below one: a ratio of one is what every prior could charge."""
    axes.axhline(1.0, color=MUTED, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(bottom=0.8)
