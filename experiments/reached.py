"""What good models of a data set reach in the diagnostics, and who is better, within that or worse."""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import xarray as xr

from ppvae.diagnostics.grades import SCALES
from ppvae.likelihoods import AutoregressiveLikelihood

from .assemble import Parts
from .cells import listed

__all__ = ["AFTER_OTHERS", "ALONE", "COLUMNS", "DATA", "TABLE", "GoodModels", "Reached", "reached", "reached_rows"]

TABLE = Path(__file__).with_name("reached.csv")
COLUMNS = ("data", "decoder", "test", "low", "high", "unit", "draws", "runs", "source")
DATA = {  # by how a dataset describes itself
    "sprites": re.compile(r"sprites, .* 3×32×32\b"),
    "binarised MNIST": re.compile(r"(static binarised )?mnist\b.*\b(binary|binarised)\b"),
    "grey MNIST": re.compile(r"mnist\b.*\b(8-bit|dequantised)\b"),
    "CIFAR-10": re.compile(r"cifar10(?![a-z0-9])"),
}
ALONE, AFTER_OTHERS = "each pixel alone", "pixels after others"  # kinds of decoder
BY_DRAWS = ("tightness", "pareto k", "effective draws")  # tests whose size depends on the draws of an image
TWICE = 2.0  # as many draws, or as few, still compare
MARGIN = 0.1  # of the larger end, beyond either: a few runs do not show all that chance does
UNKNOWN = (
    "What good models of these data reach was not measured, and good models of those that were fail most tests too: "
    "compare two runs of your own, test by test on pages like this one and by log p(x) (experiment=compare)."
)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """The range of a test's size over good models."""

    test: str
    low: float
    high: float
    draws: int  # of each image
    runs: int  # of good models, whose range it is

    @classmethod
    def of(cls, row: Mapping[str, str]) -> "Reached":
        """A line of ``reached.csv``."""
        numbers = {"low": float(row["low"]), "high": float(row["high"])}
        return cls(test=row["test"], **numbers, draws=int(row["draws"]), runs=int(row["runs"]))

    def said(self) -> str:
        """The range with its unit."""
        scale = SCALES[self.test]
        low, high = (scale.number(end) for end in (self.low, self.high))
        return scale.text.format(low if low == high else f"{low} to {high}")

    def beside(self, size: float) -> str:
        """``better`` than the range, ``within`` it or ``worse``; nothing of a size that is no number."""
        fault = SCALES[self.test].fault
        best, worst = sorted(map(fault, (self.low, self.high)))
        margin = MARGIN * max(abs(best), abs(worst))
        if math.isnan(size):
            return ""
        return "better" if fault(size) < best - margin else "worse" if fault(size) > worst + margin else "within"


@dataclass(frozen=True)
class GoodModels:
    """What good models of some data reach, by test; without a name where nothing was measured."""

    data: str = ""
    by_test: Mapping[str, Reached] = field(default_factory=dict)

    def beside(self, findings: xr.Dataset) -> dict[str, str]:
        """Better, within or worse, by test, of what :func:`~ppvae.diagnostics.graded` returns."""
        return {test: one.beside(float(findings["size"].sel(test=test))) for test, one in self.by_test.items()}

    @property
    def runs(self) -> int:
        """Of how many runs the ranges are."""
        return max((one.runs for one in self.by_test.values()), default=0)

    def sentence(self, findings: xr.Dataset) -> str:
        """In which tests the model is worse than good ones, and in which better."""
        if not self.data:
            return UNKNOWN
        found = self.beside(findings)
        tests = {word: [test for test, one in found.items() if one == word] for word in ("worse", "better", "within")}
        said = [f"{word} in {listed(tests[word])}" for word in ("worse", "better") if tests[word]]
        said += [f"within their range in {len(tests['within'])} of {len(found)} tests"]
        lost = tests["better"] and not _used(findings)
        why = "; a code that says nothing is easily right, so that better is worth nothing here" if lost else ""
        return f"Beside good models of {self.data}: {', '.join(said)}{why}."


def _used(findings: xr.Dataset) -> bool:
    """Whether the code says something of the image."""
    codes = findings["verdict"].sel(test=["active latents", "information"])
    return not bool((codes == "fail").any())


def reached(parts: Parts, draws: int) -> GoodModels:
    """What good models of these data reach with such a decoder, in tests that so many ``draws`` let compare."""
    name = next((name for name, words in DATA.items() if words.match(parts.data.description)), "")
    kind = AFTER_OTHERS if isinstance(getattr(parts.model, "likelihood", None), AutoregressiveLikelihood) else ALONE
    known = [Reached.of(row) for row in reached_rows() if (row["data"], row["decoder"]) == (name, kind)]
    if not known:
        return GoodModels()
    comparable = [one for one in known if one.test not in BY_DRAWS or 1 / TWICE <= draws / one.draws <= TWICE]
    return GoodModels(name, {one.test: one for one in comparable})


@cache
def reached_rows() -> tuple[dict[str, str], ...]:
    """The lines of ``reached.csv``, whose ``source`` is a page of ``experiments/results``."""
    with TABLE.open(newline="") as lines:
        return tuple(csv.DictReader(lines))
