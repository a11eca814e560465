"""The diagnostics page of a run: can its guide be trusted, and what does each latent mean?"""

from pathlib import Path

import xarray as xr
from omegaconf import DictConfig, OmegaConf

from ppvae import examine
from ppvae.diagnostics import calibration_tests, diagnose, graded, importance
from ppvae.diagnostics.grades import GRADES
from ppvae.diagnostics.rank_findings import LIMITS
from ppvae.nouns import ROW, Noun, noun_of
from ppvae.pair.untouched import device_of
from ppvae.plots import plot_calibration, plot_importance, plot_importance_matrix, plot_latent_cards
from ppvae.plots.labels import latent_names, number

from .assemble import Parts
from .causes import Cause, causes, summed_up
from .codes import of_site
from .evaluation import Evaluation
from .figures import moving, named
from .meanings import tests
from .provenance import command_line, environment
from .reached import GoodModels, reached
from .report import DPI, ReportFigure, Summary, Table, write_report
from .seen import sentence

__all__ = ["examined", "write_diagnosis"]

PAGE = "diagnostics"
ORDER = ("fail", "warn", "pass", "not run")
CARDS = 15  # latents of a code that have one


def write_diagnosis(
    parts: Parts,
    evaluation: Evaluation,
    configuration: DictConfig,
    directory: Path,
    *,
    of: str = "",
    dpi: int = DPI,
) -> xr.Dataset:
    """Examine the pair on its first training images and write ``diagnostics.html``; returns the findings, graded.

    ``of``: the run's name, for the title.
    """
    wanted, noun = configuration.diagnosis, noun_of(parts.data)
    tree, findings = examined(parts, evaluation, configuration)
    behind, good = causes(parts, evaluation, findings), reached(parts, wanted.draws)
    write_report(
        directory,
        page=PAGE,
        dpi=dpi,
        links={"back to the report": "report.html"},
        title=f"Diagnostics: {of}" if of else "Diagnostics",
        lead=f"{tree['sample_stats'].sizes['image']} training {noun.many}, {wanted.draws} draws each; for the "
        f"calibration {wanted.simulations} simulated {noun.many}.",
        command=command_line(),
        configuration=OmegaConf.to_yaml(configuration, resolve=True),
        summary=_summary(findings),
        found=[*_passed(findings), good.sentence(findings)],
        failed=[f"{cause.sentence()} Behind: {', '.join(cause.tests)}." for cause in behind],
        leading={"Verdicts": [_table(findings, behind, good, noun)]},
        figures=_figures(tree, evaluation, noun),
        environment=environment(configuration.seed),
    )
    return findings


def examined(parts: Parts, evaluation: Evaluation, configuration: DictConfig) -> tuple[xr.DataTree, xr.Dataset]:
    """The pair on its first training images, as ``diagnosis`` says, and what the tests find there, graded."""
    wanted, device = configuration.diagnosis, device_of(parts.guide)
    images = slice(min(wanted.images, len(parts.data)))
    data = tuple(values.to(device) for values in parts.data.arguments(images, configuration.seed))
    tree = examine(
        parts.model,
        parts.guide,
        data,
        num_samples=wanted.draws,
        simulations=wanted.simulations,
        batch_size=configuration.posterior.batch_size,
        seed=configuration.seed,
        decoded_images=0,
        sites=configuration.posterior.get("sites"),
    )
    if evaluation.information is not None:  # of more images than these
        tree["information"] = xr.DataTree(evaluation.information)
    return tree, graded(diagnose(tree, noun=noun_of(parts.data)))


def _summary(findings: xr.Dataset) -> Summary:
    counts = {name: int((findings["verdict"] == name).sum()) for name in ORDER}
    return {f"tests: {name}": (count, "") for name, count in counts.items() if count}


def _passed(findings: xr.Dataset) -> list[str]:
    """What held, and which faults are the largest."""
    held = findings["test"].values[(findings["verdict"] == "pass").values].tolist()
    worst = findings["test"].values[(findings["grade"] == "extreme").values].tolist()
    said = [f"Passed: {', '.join(held)}." if held else "No test passed."]
    failed = summed_up(findings)
    if failed:
        said.append(f"{failed}{f'; as far off as can be: {chr(44).join(worst)}'.replace(',', ', ') if worst else ''}.")
    return said


def _table(findings: xr.Dataset, behind: list[Cause], good: GoodModels, noun: Noun) -> Table:
    """Failures first, of these the worst by grade; no advice, as one cause has one."""
    cause, beside = {test: one.name for one in behind for test in one.tests}, good.beside(findings)
    columns = ["test", "verdict", "effect", *(["good models", "beside them"] if good.data else [])]
    rows = []
    for test in _worst_first(findings):
        row = findings.sel(test=test)
        reached_by_others = [good.by_test[test].said() if test in good.by_test else "", beside.get(test, "")]
        said = [row["judgement"].item(), row["effect"].item(), *(reached_by_others if good.data else [])]
        rows.append([test, *said, row["what"].item(), cause.get(test, "")])
    caption = f"Good models of {good.data}: {good.runs} runs; see the page What good models reach." if good.data else ""
    return Table("Can the guide be trusted?", [*columns, "what was found", "cause"], rows, caption, tests(noun))


def _worst_first(findings: xr.Dataset) -> list[str]:
    """The tests by verdict, of one verdict the worst grade first."""
    columns = (findings[name].values.tolist() for name in ("test", "judgement", "grade"))
    ranks = {
        test: (ORDER.index(judgement.split(",")[0]), -GRADES.index(grade) if grade else -len(GRADES))
        for test, judgement, grade in zip(*columns, strict=True)
    }
    return sorted(ranks, key=ranks.__getitem__)


def _figures(tree: xr.DataTree, evaluation: Evaluation, noun: Noun) -> list[ReportFigure]:
    matters = None if evaluation.scores is None else evaluation.scores.dci
    figures = [_weights(importance(tree).assign_attrs(noun=noun.one), noun)]
    if "calibration" in tree.children:
        figures.append(_calibration(tree["calibration"].to_dataset(), noun))
    if matters is not None:
        figures.append(_matrix(matters))
    if noun == ROW:
        return figures
    return [*figures, *(_cards(evaluation, matters, site) for site in evaluation.traversals)]


def _weights(found: xr.Dataset, noun: Noun) -> ReportFigure:
    shape, effective = found["pareto_k"], float(found["effective_samples"].median())
    good, images = shape.attrs["good"], shape.sizes["image"]
    above = int((shape > good).sum())
    seen = f"k̂ is above {good:.2f} for {above} of {images} {noun.many}; in the median {noun} {effective:.3g} of "
    seen += f"{found.attrs['num_samples']} draws are effective"
    return ReportFigure(
        "importance",
        f"{seen}. k̂ is the shape of the tail of the weights p(x, z) / q(z | x): above the dashed line the guide misses "
        "part of the posterior, and log p(x) by importance sampling is too low by an unknown amount.",
        plot_importance(found),
        "Importance weights",
        f"Histograms over {images} {noun.many}. {seen}.",
    )


def _calibration(ranks: xr.Dataset, noun: Noun) -> ReportFigure:
    tests = calibration_tests(ranks)
    off, held = tests["uniformity"], float(tests["coverage"].median())
    worst = off.isel(entry=int(off.argmax("entry")))
    seen = (
        f"{int((off > LIMITS['uniformity']).sum())} of {off.size} entries are more than {LIMITS['uniformity']} off "
        f"uniform, {worst['entry'].item()} the most, by {float(worst):.2f}; the 90 % intervals of the median entry "
        f"hold the latent in {held:.0%} of simulations"
    )
    return ReportFigure(
        "calibration",
        f"{seen}. Of {noun.many} that the model draws the latents are known; drawn here are the ranks of these "
        "among the guide's draws, uniform where the guide is the posterior.",
        plot_calibration(ranks),
        "Simulation-based calibration",
        f"A curve for each of the worst entries, flat where ranks are uniform. {seen}.",
    )


def _matrix(matters: xr.Dataset) -> ReportFigure:
    shares = matters["importance"] / matters["importance"].sum("latent")
    best = shares.max("latent")
    seen = ", ".join(
        f"{factor} by z{int(shares.sel(factor=factor).idxmax('latent'))} ({float(best.sel(factor=factor)):.0%})"
        for factor in shares["factor"].values.tolist()
    )
    return ReportFigure(
        "dci",
        f"Held most: {seen}. Cells are the share of each factor's importance that each latent holds, in trees that "
        "predict the factor from the mean codes (DCI, preset quick); one full cell a factor is a latent for each.",
        plot_importance_matrix(matters),
        "Which latent matters for which factor?",
        f"A table of factors by latents; the latent that holds most of each factor: {seen}.",
    )


def _cards(evaluation: Evaluation, matters: xr.Dataset | None, site: str) -> ReportFigure:
    shares = None if matters is None else of_site(matters["importance"], evaluation.tree, site)
    name, title = named("cards", "Latents", site, evaluation)
    shown, latents = evaluation.traversals[site].isel(latent=slice(CARDS)), evaluation.latents[site]
    seen = sentence("; ".join([moving(shown), *_largest(latents)]))
    caption = f"{seen} One image redrawn while one latent moves, and what changed between the ends."
    more = evaluation.traversals[site].sizes["latent"] - CARDS
    caption += f" {more} of smaller KL are left out." if more > 0 else ""
    alt = f"{shown.sizes['latent']} rows of images and the change between their ends, with words beside. {seen}"
    return ReportFigure(name, caption, plot_latent_cards(shown, latents, shares, most=CARDS), title, alt)


def _largest(latents: xr.Dataset) -> list[str]:
    """Which latent costs most, and without which the error rises most."""
    names, found = latent_names(latents), []
    if "kl" in latents:
        place = int(latents["kl"].argmax("latent"))
        found.append(f"{names[place]} costs most, {number(float(latents['kl'][place]))} nats")
    if "relative" in latents:
        place = int(latents["relative"].argmax("latent"))
        found.append(f"without {names[place]} the squared error rises most, by {float(latents['relative'][place]):.0%}")
    return found
