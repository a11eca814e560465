"""Rows of a table as curves over its columns."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["curve_frames"]

DPI = 100


def curve_frames(rows: np.ndarray, columns: list[str], limits: tuple[float, float] | None = None) -> np.ndarray:
    """Rows (row, column) as pictures (row, H, W, 3), uint8, on one scale: ``limits``, by default theirs."""
    low, high = limits or (float(np.nanmin(rows)), float(np.nanmax(rows)))
    margin = 0.05 * (high - low) or 1.0
    figure = Figure(figsize=(4.8, 3.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(ylim=(low - margin, high + margin), xlim=(-0.5, len(columns) - 0.5))
    few = np.unique(np.linspace(0, len(columns) - 1, 8).round().astype(int))
    axes.set_xticks(few, [columns[place][:12] for place in few], rotation=30, ha="right")
    axes.spines[["top", "right"]].set_visible(False)
    (line,) = axes.plot(rows[0], color="#1f6f8b", marker="o" if len(columns) < 40 else None)
    return np.stack([_drawn(figure, line, row) for row in rows])


def _drawn(figure: Figure, line: Line2D, row: np.ndarray) -> np.ndarray:
    line.set_ydata(row)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
