"""How large a fault is, in units that mean something, beside whether chance explains it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["GRADES", "graded"]

GRADES = ("negligible", "small", "moderate", "large", "extreme")


@dataclass(frozen=True)
class Scale:
    """Where each grade ends but the last, of a fault's size; and the size of a statistic, with its unit as text."""

    ends: tuple[float, float, float, float]
    text: Callable[[float, float], str]  # of the statistic and the test's threshold
    fault: Callable[[float, float], float] = lambda statistic, _: statistic


def _share(of: str) -> Callable[[float, float], str]:
    return lambda statistic, _: f"{100 * statistic:.3g} % of {of}"


def _distance(statistic: float, threshold: float) -> str:
    del threshold
    return f"distance {statistic:.2g}"


def _number(value: float) -> str:
    """To three digits and all before the point."""
    text = f"{value:.3g}" if not 1000 <= abs(value) < np.inf else f"{value:,.0f}".replace(",", "\u2009")
    return text.replace("-", "−").replace("inf", "∞")


def _draws_lost(statistic: float, threshold: float) -> float:
    """The share of draws that is worth nothing; the threshold is a tenth of all."""
    return 1 - statistic / (10 * threshold)


# The second or third end is the limit at which diagnose fails a test, so that no small fault fails.
SCALES = {
    "tightness": Scale((1.0, 3.0, 10.0, 50.0), lambda statistic, _: f"{_number(statistic)} nats"),
    "pareto k": Scale((0.05, 0.25, 0.5, 0.9), _share("images")),
    "effective draws": Scale(
        (0.9, 0.95, 0.98, 0.989), lambda statistic, tenth: f"{10 * statistic / tenth:.3g} % of draws", _draws_lost
    ),
    "calibration": Scale((0.03, 0.1, 0.25, 0.5), _distance),
    "bias": Scale((0.05, 0.2, 0.5, 0.8), _distance),
    "width": Scale(
        (1.05, 1.25, 1.6, 2.5), lambda statistic, _: f"× {statistic:.2g}", lambda width, _: max(width, 1 / width)
    ),
    "aggregate": Scale((0.03, 0.1, 0.25, 0.5), _distance),
    "posterior predictive": Scale((0.12, 0.25, 0.5, 0.9), _share("images")),
    "prior predictive": Scale((0.05, 0.15, 0.3, 0.6), _distance),
}
COLUMNS = {"effect": "size with its unit", "grade": "how large that is", "judgement": "verdict and grade"}
OF_THE_CODE = {"active latents": "latents", "information": "nats"}  # whose statistic is no fault but what is there


def graded(findings: xr.Dataset) -> xr.Dataset:
    """The findings of :func:`~ppvae.diagnostics.diagnose` with the size of each fault, so that failures can be ranked.

    Adds over ``test``: ``effect``, the statistic with its unit (nats, share of images or draws, times the right width,
    largest distance between distribution functions); ``grade``, negligible, small, moderate, large or extreme, empty
    where no statistic is or none is a fault; and ``judgement``, the verdict with its grade: "fail, large", "warn,
    small". A warning about what is negligible reads "pass, detectable but negligible": with draws enough, chance is
    excluded for any fault however small. The grades' bounds are conventions: a fault of tightness is negligible below
    1 nat, small below 3, moderate below 10, large below 50; a width below 1.05, 1.25, 1.6 and 2.5 times the right one;
    a distance of ranks or codes below 0.03, 0.1, 0.25 and 0.5.

    Errors: :class:`~ppvae.errors.UserError` for another Dataset.
    """
    if not isinstance(findings, xr.Dataset) or not {"statistic", "threshold", "verdict"} <= set(findings):
        raise UserError("findings is not what diagnose returns; expected its Dataset")
    rows = [_graded(findings.sel(test=test)) for test in findings["test"].values]
    columns = {
        name: ("test", [row[place] for row in rows], {"long_name": long_name})
        for place, (name, long_name) in enumerate(COLUMNS.items())
    }
    return findings.assign(columns)


def _graded(row: xr.Dataset) -> tuple[str, str, str]:
    test, verdict = row["test"].item(), row["verdict"].item()
    statistic, threshold = float(row["statistic"]), float(row["threshold"])
    if np.isnan(statistic):
        return "", "", verdict
    if test not in SCALES:
        return f"{_number(statistic)} {OF_THE_CODE[test]}", "", verdict
    scale = SCALES[test]
    grade = GRADES[int(np.searchsorted(scale.ends, scale.fault(statistic, threshold)))]
    return scale.text(statistic, threshold), grade, _judgement(verdict, grade)


def _judgement(verdict: str, grade: str) -> str:
    if verdict in ("pass", "not run"):
        return verdict
    return "pass, detectable but negligible" if grade == "negligible" else f"{verdict}, {grade}"
