"""The diagnostics page of a run: can its guide be trusted, and what does each latent mean?"""

import logging
from pathlib import Path

import xarray as xr
from omegaconf import DictConfig, OmegaConf

from ppvae import UserError, examine
from ppvae.datasets import ImageDataset
from ppvae.diagnostics import diagnose, importance
from ppvae.metrics import dci_metric
from ppvae.pair.untouched import device_of
from ppvae.plots import plot_calibration, plot_importance, plot_importance_matrix, plot_latent_cards

from .assemble import Parts
from .codes import mean_codes, of_site
from .evaluation import Evaluation
from .figures import named
from .provenance import command_line, environment
from .report import DPI, ReportFigure, Table, write_report
from .row_figures import is_table

__all__ = ["write_diagnosis"]

logger = logging.getLogger(__name__)

PAGE = "diagnostics"


def write_diagnosis(
    parts: Parts, evaluation: Evaluation, configuration: DictConfig, directory: Path, *, dpi: int = DPI
) -> xr.Dataset:
    """Examine the pair on its first training images and write ``diagnostics.html``; returns the findings."""
    wanted, noun = configuration.diagnosis, parts.data.images.noun
    device = device_of(parts.guide)
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
    findings = diagnose(tree, noun=noun)
    matters = _importance(evaluation, parts.data, configuration.seed)
    write_report(
        directory,
        page=PAGE,
        dpi=dpi,
        links={"back to the report": "report.html"},
        title="Diagnostics",
        lead=f"{len(data[0])} training {noun}s, {wanted.draws} draws each; {wanted.simulations} simulated {noun}s for "
        "the calibration.",
        noun=noun,
        command=command_line(),
        configuration=OmegaConf.to_yaml(configuration, resolve=True),
        summary=_summary(findings),
        tables=[_table(findings)],
        figures=_figures(tree, evaluation, matters, parts.data),
        environment=environment(configuration.seed),
    )
    return findings


def _importance(evaluation: Evaluation, data: ImageDataset, seed: int) -> xr.Dataset | None:
    """DCI of the mean codes where the data have factors enough; None, logged, where they have not."""
    if data.factors is None:
        return None
    factors = evaluation.tree["constant_data"].to_dataset()[list(data.factors.data_vars)]  # no inputs
    if len(factors.data_vars) < 2:  # a label alone
        return None
    try:
        return dci_metric(mean_codes(evaluation.tree), factors, preset="quick", seed=seed)
    except UserError as error:
        logger.warning("no importance matrix: %s", error)
        return None


def _summary(findings: xr.Dataset) -> dict[str, object]:
    counts = {name: int((findings["verdict"] == name).sum()) for name in ("pass", "warn", "fail", "not run")}
    return {f"tests: {name}": (count, "") for name, count in counts.items() if count}


def _table(findings: xr.Dataset) -> Table:
    rows = [
        (str(name), *(str(findings[column].sel(test=name).item()) for column in ("verdict", "what", "advice")))
        for name in findings["test"].values
    ]
    return Table("Can the guide be trusted?", ("test", "verdict", "what was found", "what to try"), rows)


def _figures(
    tree: xr.DataTree, evaluation: Evaluation, matters: xr.Dataset | None, data: ImageDataset
) -> list[ReportFigure]:
    figures = [
        ReportFigure(
            "importance",
            "k̂, image by image, of the importance weights p(x, z) / q(z | x): above the dashed line the guide misses "
            "part of the posterior, and log p(x) by importance sampling is too low by an unknown amount.",
            plot_importance(importance(tree).assign_attrs(noun=data.images.noun)),
            "Importance weights",
        )
    ]
    if "calibration" in tree.children:
        figures.append(
            ReportFigure(
                "calibration",
                "Images drawn from the model with known latents, and the ranks of these latents among the guide's "
                "draws: uniform where the guide is the posterior.",
                plot_calibration(tree["calibration"].to_dataset()),
                "Simulation-based calibration",
            )
        )
    if matters is not None:
        figures.append(
            ReportFigure(
                "dci",
                "Share of each factor's importance that each latent holds, in trees that predict the factor from the "
                "mean codes (DCI, preset quick). One dark cell a row and a column: a latent a factor.",
                plot_importance_matrix(matters),
                "Which latent matters for which factor?",
            )
        )
    if is_table(data):
        return figures
    return [*figures, *(_cards(evaluation, matters, site) for site in evaluation.traversals)]


def _cards(evaluation: Evaluation, matters: xr.Dataset | None, site: str) -> ReportFigure:
    shares = None if matters is None else of_site(matters["importance"], evaluation.tree, site)
    name, title = named("cards", "Latents", site, evaluation)
    return ReportFigure(
        name,
        "One image redrawn while one latent moves from low to high; what changed between the ends; KL, the rise of "
        "the squared error without the latent, and the factors that its importance is about.",
        plot_latent_cards(evaluation.traversals[site], evaluation.latents[site], shares),
        title,
    )
