"""Every test of a pair's inference, with verdicts."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import xarray as xr

from ppvae.diagnostics import draw_findings, information_findings, rank_findings, weight_findings
from ppvae.diagnostics.contents import noun_in
from ppvae.diagnostics.findings import Finding
from ppvae.diagnostics.weights import importance
from ppvae.errors import UserError
from ppvae.nouns import Noun, called

__all__ = ["diagnose", "verdicts"]


def _whole(tree: xr.DataTree) -> xr.DataTree:
    """For tests that read the tree themselves."""
    return tree


type Test = Callable[[Any, float, Noun], Finding]

# What a test reads of the tree, once for all tests that read the same, and what it finds there.
TESTS: dict[str, tuple[Callable[[xr.DataTree], Any], Test]] = {
    "active latents": (_whole, draw_findings.active_latents),
    "information": (_whole, information_findings.information),
    "tightness": (importance, weight_findings.tightness),
    "pareto k": (importance, weight_findings.pareto_shape),
    "effective draws": (importance, weight_findings.effective_draws),
    "calibration": (rank_findings.ranks_of, rank_findings.uniformity),
    "bias": (rank_findings.ranks_of, rank_findings.bias),
    "width": (rank_findings.ranks_of, rank_findings.width),
    "aggregate": (_whole, draw_findings.aggregate),
    "posterior predictive": (_whole, draw_findings.posterior_predictive),
    "prior predictive": (_whole, draw_findings.prior_predictive),
}
BY_CHANCE = 7  # of these, the tests whose thresholds are set by chance, which share the false alarms
COLUMNS = {
    "statistic": "what was found, as a number",
    "size": "what a fault is graded by, in its unit",
    "threshold": "where passing ends",
    "limit": "where failing begins",
    "verdict": "pass, warn, fail or not run",
    "basis": "how the threshold was set",
    "what": "what was found",
    "advice": "what to try",
}


def diagnose(tree: xr.DataTree, *, false_alarm: float = 0.01, noun: str | Noun | None = None) -> xr.Dataset:
    """Every test that the tree's groups allow, over dim ``test``; print it with :func:`verdicts`.

    Variables: ``statistic``, its ``size`` for :func:`graded`, ``threshold`` (where passing ends), ``limit`` (where
    failing begins), ``verdict`` (pass, warn, fail or not run), ``basis`` of the threshold, ``what`` was found and
    ``advice``, empty where it passed.
    ``noun``: what is said for image, by default row where the tree is of a table's.

    The chance that any of the seven tests of chance (pareto k, calibration, bias, width, aggregate, posterior and prior
    predictive) warns or fails where the guide is the model's posterior and the model the data's source is at most
    ``false_alarm``, shared evenly among them and, within one, among its latents or statistics (Bonferroni). Such a test
    warns where a fault is certain and fails where it is large besides: ranks or codes 0.1 off in distribution, draws
    less than 0.8 or more than 1.25 times as wide as they should be, means off by a quarter of a standard deviation.
    What is that large without being certain, beyond ``limit`` but not beyond ``threshold``, is ``not run`` and no pass:
    too few images or simulations to tell. The other thresholds are conventions, which an exact guide meets with
    certainty: all of its ratios are equal.

    A tree without images, ``from_pyro_svi(model, guide, model_args=...)``: tightness, pareto k and effective draws are
    those of the guide as a whole, as Yao et al. define them. Pareto k is then a convention too: it warns above the
    attribute ``good`` of :func:`~ppvae.diagnostics.importance` and fails above 0.7. Every other test is ``not run``,
    ``what`` says why.

    Blind spots: ranks cannot tell a guide that equals the prior from an exact one, active latents and tightness can;
    active latents pass a code that the decoder ignores or whose rate the objective holds up, information does not;
    calibration is of images that the model draws, not of the data; aggregate looks at one latent at a time.

    Reads ``sample_stats``, ``posterior``, ``prior``, ``observed_data``, ``posterior_predictive``, and the groups that
    :func:`~ppvae.examine` adds: ``calibration``, ``aggregate``, ``information``, ``prior_predictive``. Errors:
    :class:`~ppvae.errors.UserError` for a rate of false alarms out of (0, 1), or anything but a DataTree.
    """
    if not isinstance(tree, xr.DataTree):
        raise UserError(f"tree is a {type(tree).__name__}; expected the DataTree that ppvae.examine returns")
    if not 0 < false_alarm < 1:
        raise UserError(f"false_alarm={false_alarm!r}: expected a probability between 0 and 1")
    reading = cache(lambda read: _tried(read, tree))
    said = noun_in(tree) if noun is None else called(noun)
    findings = [_run(test, reading(read), false_alarm / BY_CHANCE, said) for read, test in TESTS.values()]
    variables = {
        name: ("test", [getattr(finding, name) for finding in findings], {"long_name": long_name})
        for name, long_name in COLUMNS.items()
    }
    dataset = xr.Dataset(variables, coords={"test": list(TESTS)}, attrs={"false_alarm": false_alarm})
    dataset["size"] = dataset["size"].fillna(dataset["statistic"])
    dataset["advice"] = dataset["advice"].where(dataset["verdict"].isin(["warn", "fail"]), "")
    return dataset


def _tried(read: Callable[[xr.DataTree], Any], tree: xr.DataTree) -> Any:
    """What is read of the tree, or the error that says why it cannot be."""
    try:
        return read(tree)
    except UserError as error:
        return error


def _run(test: Test, read: Any, level: float, noun: Noun) -> Finding:
    if isinstance(read, UserError):
        return Finding(what=str(read))
    try:
        finding = test(read, level, noun)
    except UserError as error:
        return Finding(what=str(error))
    if finding.verdict != "not run" or math.isnan(finding.statistic):
        return finding
    return replace(
        finding, what=f"{finding.what}; that may be chance, with so few {noun.many} or simulations: give more"
    )


def verdicts(findings: xr.Dataset) -> str:
    """The findings of :func:`diagnose` as text, a line a test, faults first, advice below each.

    Errors: :class:`~ppvae.errors.UserError` for another Dataset.
    """
    if not isinstance(findings, xr.Dataset) or not {*COLUMNS} <= set(findings):
        raise UserError("findings is not what diagnose returns; expected its Dataset")
    order = ["fail", "warn", "pass", "not run"]
    rows = [findings.isel(test=place) for place in range(findings.sizes["test"])]
    rows.sort(key=lambda row: order.index(row["verdict"].item()))
    return "\n".join(line for row in rows for line in _lines(row, max(map(len, findings["test"].values.tolist()))))


def _lines(row: xr.Dataset, width: int) -> list[str]:
    verdict, advice = row["verdict"].item(), row["advice"].item()
    line = f"{verdict:<8}{row['test'].item():<{width + 2}}{row['what'].item()}"
    return [line] + ([" " * (width + 10) + "try: " + advice] if advice else [])
