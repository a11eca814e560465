"""Tests of simulated ranks: are they uniform, symmetric, and neither piled up at the ends nor in the middle?"""

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import bdtr

from ppvae.diagnostics.contents import entry_name
from ppvae.errors import UserError

__all__ = ["calibration_tests", "holm", "largest_excursion_tail", "rank_entries"]

EDGE = 1e-12  # ranks are kept off 0 and 1, whose normal scores are infinite


def calibration_tests(ranks: xr.Dataset) -> xr.Dataset:
    """Three tests of each latent's ranks in (0, 1), (simulation, ...), as from :func:`~ppvae.rank_simulations`.

    Returns over ``entry``, the sites' entries by name such as ``z[2]``, each test's size of the fault and p-values,
    ``*_p`` of the entry alone, ``*_adjusted`` by Holm's rule over all entries, valid however they depend on each other:

    - ``uniformity``: the largest distance of the ranks' distribution function from uniform (Kolmogorov and Smirnov).
    - ``asymmetry``: the largest distance between the distribution functions of p and 1 − p: the guide's mean is off.
      The two are one sample, so that the two-sample test's table, which Yao et al. use, is wrong here: it rejects
      10 % of the time at 5 %. With the ranks sorted by |p − ½|, largest first, the distance is the largest excursion of
      the sum of their signs, a fair random walk under symmetry: exact for any number of simulations.
    - ``width``: how wide the guide's draws are, as a multiple of the width that would be right, were both normal: one
      over the standard deviation of the normal scores Φ⁻¹(p), below one where ranks pile up at both ends (U shape: too
      narrow), above one where they pile up in the middle (too wide). A shift hardly moves it. Ranks among S draws
      reach no farther than 1/(S + 1), so that gross faults look smaller than they are. Its test is the exact χ² of a
      normal sample's variance.

    ``mean`` is the mean rank, above ½ where the guide's draws lie too low; ``coverage`` the share of simulations whose
    latent lies in the guide's central 90 % interval.

    Errors: :class:`~ppvae.errors.UserError` for ranks out of (0, 1), no dim simulation, or fewer than 20 simulations.
    Sources: Talts et al. 2018, Sec. 4 (shapes); Yao et al. 2018, Sec. 3 (symmetry); Butler 1969 (the test of symmetry).
    """
    entries, values = rank_entries(ranks)
    count = values.shape[-1]
    uniformity, asymmetry = _distance(values), _excursion(values)
    variance = _variance(values)
    p_values = {
        "uniformity": stats.kstwo.sf(uniformity, count),
        "asymmetry": largest_excursion_tail(asymmetry, count),
        "width": _two_sided(stats.chi2(count - 1), (count - 1) * variance),
    }
    sizes = {"uniformity": uniformity, "asymmetry": asymmetry / count, "width": 1 / np.sqrt(variance)}
    columns = {**sizes, "mean": values.mean(-1), "coverage": (np.abs(values - 0.5) <= 0.45).mean(-1)}
    for name, p in p_values.items():
        columns |= {f"{name}_p": p, f"{name}_adjusted": holm(p)}
    return xr.Dataset(
        {name: ("entry", column, {"long_name": _long_name(name), "units": "1"}) for name, column in columns.items()},
        coords={"entry": entries},
        attrs={"simulations": count},
    )


def holm(p: np.ndarray) -> np.ndarray:
    """P-values (entry,) so adjusted that one at or below α rejects with at most α false alarms among all entries.

    Source: Holm 1979.
    """
    order = np.argsort(p)
    scaled = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1.0)
    return scaled[np.argsort(order)]


def largest_excursion_tail(excursion: np.ndarray, steps: int) -> np.ndarray:
    """P(max |S_k| ≥ m, k ≤ n) of a fair ±1 walk of n steps, by reflection at ±m, exact.

    P(max < m) = Σ_j [P(|S + 4jm| < m) − P(|S + (4j + 2)m| < m)], S the walk's end.
    """
    values, places = np.unique(excursion, return_inverse=True)
    return np.array([_tail(int(m), steps) for m in values])[places].reshape(np.shape(excursion))


def _tail(excursion: int, steps: int) -> float:
    if excursion <= 0:
        return 1.0
    turns = np.arange(-(steps // (2 * excursion)) - 1, steps // (2 * excursion) + 2)
    upper, lower = (2 * turns + 1) * excursion - 1, (2 * turns - 1) * excursion  # inside: lower < S <= upper
    inside = _heads((steps + upper) // 2, steps) - _heads((steps + lower) // 2, steps)
    return float(np.clip(1 - (np.where(turns % 2, -1, 1) * inside).sum(), 0.0, 1.0))


def _heads(most: np.ndarray, steps: int) -> np.ndarray:
    """P(at most so many heads in as many fair tosses as there are steps)."""
    return np.where(most < 0, 0.0, bdtr(np.clip(most, 0, steps), steps, 0.5))


def rank_entries(ranks: xr.Dataset) -> tuple[list[str], np.ndarray]:
    """Names of all entries of all sites, and their ranks (entry, simulation)."""
    if not isinstance(ranks, xr.Dataset) or "simulation" not in ranks.dims or not ranks.data_vars:
        found = dict(ranks.sizes) if isinstance(ranks, xr.Dataset) else type(ranks).__name__
        raise UserError(f"ranks came as {found}; expected a Dataset over dim simulation, from rank_simulations")
    if ranks.sizes["simulation"] < 20:
        raise UserError(f"ranks has {ranks.sizes['simulation']} simulations; expected at least 20: simulate more")
    names, rows = [], []
    for array in ranks.data_vars.values():
        moved = array.transpose(..., "simulation")
        one = moved.isel(simulation=0, drop=True)
        names += [entry_name(one, place) for place in np.ndindex(one.shape)]
        rows.append(moved.values.reshape(-1, moved.sizes["simulation"]).astype(float))
    values = np.concatenate(rows)
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError("ranks are NaN or outside (0, 1); expected what rank_simulations returns")
    return names, values


def _distance(values: np.ndarray) -> np.ndarray:
    """sup |F_n(t) − t|, (entry,)."""
    count, ordered = values.shape[-1], np.sort(values, axis=-1)
    steps = np.arange(count + 1) / count
    return np.maximum((steps[1:] - ordered).max(-1), (ordered - steps[:-1]).max(-1))


def _excursion(values: np.ndarray) -> np.ndarray:
    """max_k |Σ sign(p − ½)| over the k ranks farthest from ½, (entry,)."""
    order = np.argsort(-np.abs(values - 0.5), axis=-1)
    signs = np.where(np.take_along_axis(values, order, -1) > 0.5, 1, -1)
    return np.abs(signs.cumsum(-1)).max(-1)


def _variance(values: np.ndarray) -> np.ndarray:
    """Of the ranks' normal scores, (entry,)."""
    return stats.norm.ppf(np.clip(values, EDGE, 1 - EDGE)).var(-1, ddof=1)


def _two_sided(distribution: Any, values: np.ndarray) -> np.ndarray:
    return np.minimum(2 * np.minimum(distribution.cdf(values), distribution.sf(values)), 1.0)


def _long_name(name: str) -> str:
    kind, _, suffix = name.partition("_")
    what = {
        "uniformity": "largest distance of the ranks from uniform",
        "asymmetry": "largest distance between the distributions of p and 1 − p",
        "width": "width of the guide's draws over the right one, both taken for normal",
        "mean": "mean rank",
        "coverage": "share of latents in the guide's central 90 % interval",
    }[kind]
    return what + {"": "", "p": ", p-value", "adjusted": ", p-value by Holm's rule"}[suffix]
