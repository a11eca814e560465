"""What one test found, and its verdict."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CONVENTION",
    "Finding",
    "Verdict",
    "by_chance",
    "fall_short",
    "rise_above",
    "two_sample_distance",
]

Verdict = Literal["pass", "warn", "fail", "not run"]
CONVENTION = "convention"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A test's statistic, the threshold at which it stops passing, the limit at which it fails, and both in words.

    ``size``: what the fault is graded by, in its unit, where that is not the statistic.
    """

    statistic: float = math.nan
    size: float = math.nan
    threshold: float = math.nan
    limit: float = math.nan
    verdict: Verdict = "not run"
    basis: str = ""
    what: str
    advice: str = ""


def rise_above(statistic: float, threshold: float, limit: float) -> Verdict:
    """``pass`` up to the threshold, ``warn`` up to the limit (the threshold where that is higher), else ``fail``.

    ``not run`` between the limit and a threshold above it: a fault that large would not be told from chance.
    """
    if statistic <= threshold:
        return "pass" if statistic <= limit else "not run"
    return "warn" if statistic <= limit else "fail"


def fall_short(statistic: float, threshold: float, limit: float) -> Verdict:
    """``pass`` from the threshold up, ``warn`` from the limit up (the threshold where that is lower), else ``fail``.

    ``not run`` between a threshold and the limit above it.
    """
    if statistic >= threshold:
        return "pass" if statistic >= limit else "not run"
    return "warn" if statistic >= limit else "fail"


def by_chance(level: float) -> str:
    """How a threshold was set: by the chance that it is passed where nothing is wrong."""
    return f"false alarm {level:.2g}"


def two_sample_distance(level: float, first: int, second: int) -> float:
    """The distance between two samples' distribution functions that chance exceeds with probability ``level``.

    Kolmogorov and Smirnov's, at the effective sample size nm/(n + m), as scipy's ``ks_2samp(method="asymp")``.
    """
    from scipy import stats  # a second to import, for what is seldom asked

    return float(stats.kstwo.isf(level, max(1, round(first * second / (first + second)))))
