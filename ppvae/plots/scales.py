"""The axes of a training run: epochs along x; along y curves that may fall by orders of magnitude and then creep."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ppvae.plots.labels import tick
from ppvae.plots.style import MUTED

__all__ = ["LogAbove", "choose_scale", "epoch_axis", "scale_axis"]

MANY_TIMES = 25


@dataclass(frozen=True)
class LogAbove:
    """A log scale of (value − floor): the ticks name the true values, the axis label names the floor."""

    floor: float

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Axis positions of values; what lies at or under the floor is put just above it."""
        above = np.asarray(values, dtype=float) - self.floor
        return np.log10(np.maximum(above, 1e-9))

    def inverse(self, positions: np.ndarray) -> np.ndarray:
        """Values of axis positions."""
        return self.floor + 10.0 ** np.minimum(np.asarray(positions, dtype=float), 300)


def choose_scale(values: np.ndarray) -> LogAbove | None:
    """A log axis for curves whose later half stays in the lowest few per cent of the range, None for a linear axis.

    values (epoch) or (epoch, curve). The floor is 0 for positive values that reach towards it, else a round number
    under the smallest value: far enough that at most about two and a half decades are shown.
    """
    finite, late = values[np.isfinite(values)], values[len(values) // 2 :]
    late = late[np.isfinite(late)]
    if len(values) < 4 or late.size == 0 or np.ptp(finite) == 0:
        return None
    low, total = float(finite.min()), float(np.ptp(finite))
    if late.max() - low > total / MANY_TIMES:
        return None
    if 0 < low < total / MANY_TIMES:
        return LogAbove(0.0)
    margin = 10.0 ** round(math.log10(max(2 * float(np.ptp(late)), total / 300)))
    return LogAbove(math.floor(low / margin - 0.5) * margin)


def epoch_axis(axes: Axes, epochs: np.ndarray) -> None:
    """Labels the x axis and ticks it at whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True) if len(epochs) > 1 else FixedLocator(epochs))


def scale_axis(axes: Axes, values: np.ndarray) -> None:
    """Scales and ticks the y axis for these values; where it is not linear, a note above the axes says so."""
    scale = choose_scale(values)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    if scale is None:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        return
    finite = values[np.isfinite(values)]
    axes.set_yscale("function", functions=(scale.forward, scale.inverse))
    axes.yaxis.set_major_locator(FixedLocator(_ticks(scale, finite)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    reach = scale.forward(np.array([finite.min(), finite.max()]))
    axes.set_ylim(*scale.inverse(reach + np.array([-0.08, 0.08]) * max(np.ptp(reach), 0.5)))
    axes.set_title(f"log scale above {tick(scale.floor)}", loc="right", color=MUTED, fontsize=8.5)


def _ticks(scale: LogAbove, values: np.ndarray) -> list[float]:
    low, high = scale.forward(np.array([values.min(), values.max()]))
    steps = (1, 3) if high - low < 3.5 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    return [scale.floor + step * 10.0**power for power in powers for step in steps]
