"""How large a fault is, in units that mean something, beside whether chance explains it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["GRADES", "graded"]

GRADES = ("negligible", "small", "moderate", "large", "extreme")


@dataclass(frozen=True)
class Scale:
    """A size in words, how bad it is, and where each grade of that ends but the last."""

    text: str
    ends: tuple[float, float, float, float] | None = None  # None: the size is of no fault but of what is there
    fault: Callable[[float], float] = lambda size: size  # grows with what is wrong

    @property
    def unit(self) -> str:
        """The words around the number."""
        return self.text.replace("{}", "").strip()

    def effect(self, size: float) -> str:
        """The size with its unit."""
        return self.text.format(self.number(size))

    @staticmethod
    def number(value: float) -> str:
        """To three digits and all before the point."""
        text = f"{value:.3g}" if not 1000 <= abs(value) < np.inf else f"{value:,.0f}".replace(",", "\u2009")
        return text.replace("-", "−").replace("inf", "∞")

    def grade(self, size: float) -> str:
        """How large a fault of that size is; empty where it is none."""
        return "" if self.ends is None else GRADES[int(np.searchsorted(self.ends, self.fault(size)))]


SCALES = {
    "active latents": Scale("{} latents", fault=operator.neg),
    "information": Scale("{} nats", fault=operator.neg),
    "tightness": Scale("{} nats", (1.0, 3.0, 10.0, 50.0)),
    "pareto k": Scale("k̂ {}", (0.4, 0.5, 1.0, 2.0)),
    "effective draws": Scale("{} % of draws", (0.1, 0.2, 0.5, 0.9), lambda share: 1 / share),
    "calibration": Scale("distance {}", (0.03, 0.1, 0.25, 0.5)),
    "bias": Scale("distance {}", (0.05, 0.2, 0.5, 0.8)),
    "width": Scale("× {}", (1.05, 1.25, 1.6, 2.5), lambda width: max(width, 1 / width)),
    "aggregate": Scale("distance {}", (0.03, 0.1, 0.25, 0.5)),
    "posterior predictive": Scale("{} % of images", (12, 25, 50, 90)),
    "prior predictive": Scale("distance {}", (0.05, 0.15, 0.3, 0.6)),
}
COLUMNS = {"effect": "size with its unit", "grade": "how large that is", "judgement": "verdict and grade"}


def graded(findings: xr.Dataset) -> xr.Dataset:
    """The findings of :func:`~ppvae.diagnostics.diagnose` with the size of each fault, so that failures can be ranked.

    Adds over ``test``: ``effect``, the size with its unit; ``grade``, negligible, small, moderate, large or extreme,
    empty where no statistic is or none is a fault; and ``judgement``, the verdict with its grade: "fail, large", "warn,
    small". A warning about what is negligible reads "pass, detectable but negligible": with draws enough, chance is
    excluded for any fault however small; what fails is small at least.

    A verdict is by the worst latent or statistic, as any may be wrong; the size is over all of them, as the worst of
    fifty is much the same for good models and for bad ones: nats; k̂ of the median image; the median share of effective
    draws; the mean over latents of the largest distance between distribution functions, or of the logarithm of the
    width over the right one; the mean over statistics of the share of images that are extreme, or of such a distance.

    The grades' bounds are conventions: a fault of tightness is negligible below 1 nat, small below 3, moderate below
    10, large below 50; k̂ below 0.4, 0.5 (from there the weights have no variance), 1 (from there no mean) and 2; a
    width below 1.05, 1.25, 1.6 and 2.5 times the right one; a distance of ranks or codes below 0.03, 0.1, 0.25 and 0.5.

    Errors: :class:`~ppvae.errors.UserError` for another Dataset.
    """
    if not isinstance(findings, xr.Dataset) or not {"size", "verdict"} <= set(findings):
        raise UserError("findings is not what diagnose returns; expected its Dataset")
    rows = [_graded(findings.sel(test=test)) for test in findings["test"].values]
    columns = {
        name: ("test", [row[place] for row in rows], {"long_name": long_name})
        for place, (name, long_name) in enumerate(COLUMNS.items())
    }
    return findings.assign(columns)


def _graded(row: xr.Dataset) -> tuple[str, str, str]:
    test, verdict, size = row["test"].item(), row["verdict"].item(), float(row["size"])
    if np.isnan(size):
        return "", "", verdict
    grade = SCALES[test].grade(size)
    if verdict == "fail" and grade == GRADES[0]:
        grade = GRADES[1]
    return SCALES[test].effect(size), grade, _judgement(verdict, grade)


def _judgement(verdict: str, grade: str) -> str:
    if verdict in ("pass", "not run") or not grade:
        return verdict
    return "pass, detectable but negligible" if grade == GRADES[0] else f"{verdict}, {grade}"
