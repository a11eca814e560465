"""Pareto-smoothed importance sampling (PSIS) on plain arrays."""

import math

import numpy as np
from scipy.special import logsumexp

from ppvae.errors import UserError, check_whole

__all__ = ["good_pareto_k", "pareto_smooth", "psis_log_weights", "tail_length"]

LEAST_TAIL = 6  # with five, the quartile that the fit needs is the minimum
CELLS = 2_000_000  # numbers held at a time by the fit: images × grid × tail
UNDERFLOW = -700.0  # nats below the largest ratio, where a double's exponential ends


def tail_length(draws: int) -> int:
    """How many of the largest ratios are the tail: min(S / 5, 3√S), rounded down as ArviZ does (R's loo rounds up)."""
    check_whole("draws", draws, 1)
    return int(min(draws / 5, 3 * math.sqrt(draws)))


def good_pareto_k(draws: int) -> float:
    """min(1 − 1/log₁₀ S, 0.7): an estimate from S draws is reliable where k̂ is below.

    Source: Vehtari et al. 2024, "Pareto smoothed importance sampling", Sec. 3.2.4.
    """
    check_whole("draws", draws, 2)
    return min(1 - 1 / math.log10(draws), 0.7)


def psis_log_weights(log_ratios: np.ndarray, *, resolution: float | np.ndarray = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Log weights that sum to one, their tail smoothed, and the tail's shape k̂; see :func:`pareto_smooth`."""
    smoothed, shape = pareto_smooth(log_ratios, resolution=resolution)
    return smoothed - logsumexp(smoothed, axis=-1, keepdims=True), shape


def pareto_smooth(log_ratios: np.ndarray, *, resolution: float | np.ndarray = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios whose largest are replaced by the quantiles of a generalised Pareto fit, and the fit's shape k̂.

    The tail's M = :func:`tail_length` ratios over the largest below them follow a generalised Pareto distribution of
    shape k, with moments up to order 1/k. k̂ is its posterior mean by Zhang and Stephens (2009) with the weak prior
    (M k̂ + 5)/(M + 10); the smoothed ratios never exceed the largest.

    Shapes: log_ratios (..., draw), nats, each row by itself; returns (..., draw) and (...).
    k̂ = −inf, nothing smoothed: the tail is constant up to ``resolution`` nats (scalar or (...)), the ratios' rounding
    error, as where q is exact. k̂ = inf: the tail spans more than 700 nats, one draw holds all weight. k̂ = NaN, nothing
    smoothed: fewer than 30 draws, ratios that are NaN or +inf, or a tail with so many ties that no fit is possible.
    ArviZ's ``psislw`` takes −log_ratios; it raises for a constant tail and for few draws.

    Errors: :class:`~ppvae.errors.UserError` for an array without draws.
    Source: Vehtari et al. 2024, "Pareto smoothed importance sampling", Sec. 3 and App. C.
    """
    ratios = np.array(log_ratios, dtype=np.float64)
    if ratios.ndim == 0 or ratios.shape[-1] == 0:
        raise UserError(f"log_ratios came with shape {ratios.shape}; expected (..., draw) with one draw or more")
    rows, tail = ratios.reshape(-1, ratios.shape[-1]), tail_length(ratios.shape[-1])
    shape, limits = np.full(len(rows), np.nan), np.broadcast_to(resolution, ratios.shape[:-1]).reshape(-1)
    usable = np.isfinite(rows.max(-1))  # NaN spreads through max
    if tail >= LEAST_TAIL and usable.any():
        step = max(1, CELLS // (tail * _grid_size(tail)))
        for some in np.array_split(np.flatnonzero(usable), math.ceil(usable.sum() / step)):
            rows[some], shape[some] = _smooth_rows(rows[some], tail, limits[some])
    return rows.reshape(ratios.shape), shape.reshape(ratios.shape[:-1])


def _smooth_rows(rows: np.ndarray, tail: int, resolution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = rows.shape[-1] - tail
    order = np.argpartition(rows, (first - 1, rows.shape[-1] - 1), axis=-1)[:, first - 1 :]
    values = np.take_along_axis(rows, order, -1)
    largest = values[:, -1:]
    inner = np.argsort(values[:, 1:], axis=-1)
    places = np.take_along_axis(order[:, 1:], inner, -1)
    top = np.take_along_axis(values[:, 1:], inner, -1) - largest
    cutoff = np.exp(values[:, :1] - largest)
    shape, scale = _fit(np.exp(top) - cutoff)
    constant, far = -top[:, 0] <= resolution, top[:, 0] < UNDERFLOW
    shape = np.where(constant, -np.inf, np.where(np.isnan(shape) & far, np.inf, shape))
    smoothed = _quantiles(tail, shape[:, None], scale[:, None], cutoff)
    use = np.isfinite(shape)[:, None] & (scale[:, None] > 0)
    np.put_along_axis(rows, places, largest + np.where(use, smoothed, top), -1)
    return rows, shape


def _quantiles(tail: int, shape: np.ndarray, scale: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
    """Log quantiles of cutoff + generalised Pareto at (i − ½)/M, none above that of the largest ratio, zero."""
    rest = np.log1p(-(np.arange(tail) + 0.5) / tail)
    with np.errstate(all="ignore"):
        excess = np.where(shape == 0, -rest, np.expm1(-shape * rest) / shape)
        return np.minimum(np.log(cutoff + scale * excess), 0.0)


def _grid_size(tail: int) -> int:
    return 30 + int(math.sqrt(tail))


def _fit(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape with its prior and scale without, of each row of sorted excesses, NaN where its quartile is its minimum."""
    tail, size = excess.shape[-1], _grid_size(excess.shape[-1])
    quartile = excess[:, int(tail / 4 + 0.5) - 1, None]
    steps = 1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    with np.errstate(all="ignore"):
        grid = steps / (3 * quartile) + 1 / excess[:, -1:]
        shapes = np.log1p(-grid[:, :, None] * excess[:, None, :]).mean(-1)
        log_likelihood = tail * (np.log(-grid / shapes) - shapes - 1)
        weights = np.exp(log_likelihood - logsumexp(log_likelihood, axis=-1, keepdims=True))
        weights = np.where(weights >= 10 * np.finfo(float).eps, weights, 0.0)
        rate = (weights * grid).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True)
        shape = np.log1p(-rate * excess).mean(-1)
        scale = -shape / rate[:, 0]
    regular = (quartile > excess[:, :1])[:, 0]
    with_prior = (tail * shape + 5) / (tail + 10)
    return np.where(regular, with_prior, np.nan), np.where(regular, scale, np.nan)
