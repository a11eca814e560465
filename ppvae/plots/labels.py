"""Names and numbers as a reader meets them in a figure."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

__all__ = ["coordinate", "latent_names", "number", "spread", "tick"]


def coordinate(array: xr.DataArray | xr.Dataset, dim: str, start: int = 0) -> np.ndarray:
    """The values of a dim's coordinate, or the count from ``start`` where there is none."""
    return array[dim].values if dim in array.coords else np.arange(start, start + array.sizes[dim])


def latent_names(array: xr.DataArray | xr.Dataset, dim: str = "latent", site: str | None = None) -> list[str]:
    """``z7`` for the latent 7 of z, ``w[7]`` for that of a site w; latents that already have names keep them.

    The site is the one given, else the attribute ``site``, else z.
    """
    site = site or array.attrs.get("site", "z")
    form = "z{}" if site == "z" else f"{site}[{{}}]"
    return [value if isinstance(value, str) else form.format(value) for value in coordinate(array, dim).tolist()]


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits (and all those before the point), a true minus, thin thousands."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{digits - 1}e}" if decimals > digits + 2 else f"{value:,.{max(decimals, 0)}f}"
    return _typeset(text)


def tick(value: float) -> str:
    """A number at a tick: as short as it can be written to six digits."""
    return _typeset(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}")


def _typeset(text: str) -> str:
    return text.replace(",", "\u2009").replace("-", "−")


def spread(positions: Sequence[float] | np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """The positions moved as little as needed to lie ``gap`` apart within [low, high], in the same order.

    Neighbours closer than the gap become a block around their mean, and blocks that then touch are merged
    (isotonic regression of position − rank·gap). Where the interval is too short the gap shrinks to fit.
    """
    wanted = np.asarray(positions, dtype=float)
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    order = np.argsort(wanted, kind="stable")
    ranks = gap * np.arange(len(wanted))
    blocks: list[tuple[float, int]] = []
    for value in wanted[order] - ranks:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (mean * count + before * size) / (count + size), count + size
        blocks.append((mean, count))
    fitted = np.concatenate([np.full(count, mean) for mean, count in blocks]) if blocks else np.empty(0)
    placed = np.empty(len(wanted))
    placed[order] = np.clip(fitted, low, high - ranks[-1] if len(ranks) else high) + ranks
    return placed
