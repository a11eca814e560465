"""The house style of every figure: applied around the drawing, never to matplotlib's own settings."""

from collections.abc import Mapping
from contextlib import ContextDecorator
from functools import cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["ACCENT", "FAINT", "INK", "MUTED", "PAPER", "bare", "finish", "house_style", "new_figure", "shades"]

INK = "#1f2933"
MUTED = "#6b7785"
FAINT = "#dfe3e8"
PAPER = "#ffffff"
ACCENT = "#1f6f8b"
DPI = 130
FONTS = ("Helvetica Neue", "Arial", "Liberation Sans")


@cache
def _fonts() -> list[str]:
    """The house fonts this machine has, then the one that matplotlib brings (so that no look-up ever fails)."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return [*[name for name in FONTS if name in known][:1], "DejaVu Sans"]


def _settings() -> Mapping[str, Any]:
    return {
        "font.family": _fonts(),
        "font.size": 9.5,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.facecolor": PAPER,
        "axes.labelcolor": INK,
        "axes.labelsize": 9.5,
        "axes.linewidth": 0.7,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "figure.facecolor": PAPER,
        "figure.dpi": DPI,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.5,
        "lines.solid_capstyle": "round",
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
    }


def house_style() -> ContextDecorator:
    """A decorator: matplotlib's settings are the house style while the function runs, the user's own after it."""
    return matplotlib.rc_context(dict(_settings()))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, unknown to pyplot (no window, no backend, nothing to close)."""
    return Figure(figsize=(width, height), layout="constrained")


def finish(figure: Figure) -> Figure:
    """The figure with its ticks made now: matplotlib makes them when drawing, when the house style is gone."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_ticks(1)
    return figure


def shades(count: int, *, name: str = "viridis", last: float = 0.88) -> list[tuple[float, float, float, float]]:
    """So many colours of a perceptual colour map, dark to light, short of its end that fades on white."""
    colours = matplotlib.colormaps[name]
    return [colours(last * index / max(count - 1, 1)) for index in range(count)]


def bare(axes: Axes) -> Axes:
    """The axes without spines and tick marks, for pictures."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return axes
