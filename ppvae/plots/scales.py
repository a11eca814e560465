"""The axes of a training run: epochs along x; along y curves that may fall by orders of magnitude and then creep."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ppvae.plots.labels import tick
from ppvae.plots.style import MUTED

__all__ = ["LogAbove", "choose_scale", "epoch_axis", "far_epochs", "scale_axis"]

MANY_TIMES = 25
FAR, FIRST = 3.0, 3  # spans of all later epochs, from which on so many first epochs at most are off the axis


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


def far_epochs(values: np.ndarray) -> int:
    """How many of the first epochs, three at most and fewer than half, lie farther off than the others are spread.

    values (epoch) or (epoch, curve). They would crush the rest to a line; only first epochs are looked at, as what
    happens later is no matter of starting.
    """
    rows = values.reshape(len(values), -1)
    for first in range(min(FIRST, (len(rows) - 1) // 2 + (len(rows) == 2)), 0, -1):
        early, late = rows[first - 1], rows[first:]
        late = late[np.isfinite(late)]
        if late.size < 2 or np.ptp(late) == 0:
            continue
        beyond = np.maximum(late.min() - early, early - late.max())
        if np.nanmax(beyond, initial=0) > FAR * np.ptp(late):
            return first
    return 0


def epoch_axis(axes: Axes, epochs: np.ndarray) -> None:
    """Labels the x axis and ticks it at whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True) if len(epochs) > 1 else FixedLocator(epochs))


def scale_axis(axes: Axes, values: np.ndarray) -> None:
    """Scales and ticks the y axis for these values, with a value at either end.

    First epochs that would crush the rest are off the axis, else it may be logarithmic: a note above says so.
    """
    off = far_epochs(values)
    scale = choose_scale(values[off:])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    notes = [_off(values, off)] * (off > 0)
    finite = values[off:][np.isfinite(values[off:])]
    if scale is None:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if finite.size:
            axes.set_ylim(*_ends(finite.min(), finite.max()))
        _note(axes, notes)
        return
    axes.set_yscale("function", functions=(scale.forward, scale.inverse))
    axes.yaxis.set_major_locator(FixedLocator(_ticks(scale, finite)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    reach = scale.forward(np.array([finite.min(), finite.max()]))
    axes.set_ylim(*scale.inverse(reach + np.array([-0.08, 0.08]) * max(np.ptp(reach), 0.5)))
    _note(axes, [f"log scale above {tick(scale.floor)}", *notes])


def _ends(low: float, high: float) -> tuple[float, float]:
    """The ticks next to the values, below and above."""
    ticks = MaxNLocator(5).tick_values(low, high) if low < high else (low - 0.5, high + 0.5)
    return float(ticks[0]), float(ticks[-1])


def _off(values: np.ndarray, first: int) -> str:
    """Which epochs are off the axis, and how far the first is."""
    row = values[0].reshape(-1)
    row, rest = row[np.isfinite(row)], values[first:][np.isfinite(values[first:])]
    said = f", at {tick(row[np.abs(row - np.median(rest)).argmax()])}" if row.size else ""
    epochs = "epoch 1" if first == 1 else f"epochs 1 to {first}"
    return f"{epochs} off the axis{said}"


def _note(axes: Axes, notes: list[str]) -> None:
    if notes:
        axes.set_title("; ".join(notes), loc="right", color=MUTED, fontsize=8.5)


def _ticks(scale: LogAbove, values: np.ndarray) -> list[float]:
    low, high = scale.forward(np.array([values.min(), values.max()]))
    steps = (1, 3) if high - low < 3.5 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    return [scale.floor + step * 10.0**power for power in powers for step in steps]
