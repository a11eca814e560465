"""The main job: one pair trained, measured and reported."""

import math
import re
from pathlib import Path

import xarray as xr
from omegaconf import DictConfig, OmegaConf

from ppvae.diagnostics.contents import noun_in
from ppvae.files import replace_atomically
from ppvae.nouns import Noun
from ppvae.plots.labels import latent_names

from .. import meanings
from ..assemble import Parts
from ..causes import causes, summed_up
from ..diagnostics_page import write_diagnosis
from ..draw_figures import draws_of_run
from ..evaluation import Evaluation
from ..figures import figures_of_run, figures_of_selection
from ..findings import reconstruction_error, reconstruction_unit, sentences, used
from ..hierarchy_figures import figures_of_hierarchy, groups_table
from ..label_figures import labels_named, samples_by_label
from ..labels import labelled, metric_labels
from ..provenance import command_line, environment
from ..reached import reached
from ..report import DPI, Summary, Table, write_report
from ..row_figures import figures_of_rows, imputed, rows_table
from ..selecting import read_selected
from ..training import train_and_evaluate

__all__ = ["run", "train_and_report", "write_pages"]

PAPER = {  # Table I's numbers of the NGVAE
    "entropy_sampled": 2.3,
    "decorrelation_sampled": 14.3,
    "disentanglement": 0.68,
    "informative_by_probability": 7,
}


def run(configuration: DictConfig, directory: Path) -> Path:
    """Train, evaluate and report one configuration; returns the report's path."""
    resume = configuration.resume is not None and (directory / "checkpoint.pt").is_file()  # else it begins again
    evaluation, page, found = _reported(configuration, directory, resume=resume)
    codes = [f"Codes: {path}" for path in [directory / "codes.csv"] if path.is_file()]
    print(_said(evaluation), *found, *codes, f"Report: {page}", sep="\n")
    return page


@labelled(lambda noun: metric_labels(train_and_evaluate, noun) or {})
def train_and_report(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """As a study's ``measure``: each run has its report, and what it found in ``found.txt``."""
    _, _, found = _reported(configuration, directory, resume=resume)
    replace_atomically(directory / "found.txt", lambda path: path.write_text("".join(f"{line}\n" for line in found)))


def _reported(configuration: DictConfig, directory: Path, *, resume: bool) -> tuple[Evaluation, Path, list[str]]:
    """The evaluation, the report and what it says first."""
    done = train_and_evaluate(configuration, directory, resume=resume, follow=write_pages)
    return done[-1], *write_pages(*done, configuration, directory)


def write_pages(
    parts: Parts,
    history: xr.Dataset,
    evaluation: Evaluation,
    configuration: DictConfig,
    directory: Path,
    *,
    dpi: int = DPI,
) -> tuple[Path, list[str]]:
    """The report and, where the configuration wants it, the diagnostics; returns its path and what it says first."""
    findings, chosen, title = None, read_selected(directory), _title(parts, configuration)
    if configuration.diagnosis.images:
        findings = write_diagnosis(parts, evaluation, configuration, directory, of=title, dpi=dpi)
    found = sentences(parts, evaluation, chosen)
    failed = _failed(parts, evaluation, findings, configuration.diagnosis.draws)
    page = write_report(
        directory,
        links={} if findings is None else {"diagnostics of the guide and of each latent": "diagnostics.html"},
        title=title,
        lead=f"{parts.data.description[0].upper()}{parts.data.description[1:]}. {_lead(history, evaluation)}",
        command=command_line(),
        configuration=OmegaConf.to_yaml(configuration, resolve=True),
        summary=_summary(history, evaluation),
        tables=[
            _metrics_table(evaluation, ngvae="p" in history),
            *_information_table(evaluation.information, noun_in(evaluation.tree)),
            *groups_table(evaluation),
            *(_latents_table(evaluation, site) for site in evaluation.traversals),
            *rows_table(parts.data, imputed(parts, configuration, directory)),
        ],
        figures=[
            *figures_of_selection(chosen),
            *figures_of_rows(parts, evaluation, configuration),
            *draws_of_run(parts, evaluation, configuration.seed),
            *figures_of_run(history, evaluation),
            *figures_of_hierarchy(parts, evaluation, configuration.seed),
            *samples_by_label(parts, configuration.seed),
            *labels_named(parts, evaluation),
        ],
        found=found,
        failed=failed,
        environment=environment(configuration.seed),
        dpi=dpi,
    )
    return page, [*found, *failed[:1]]


def _title(parts: Parts, configuration: DictConfig) -> str:
    """What was trained on what: the run's name, if it has one, the data, the prior, the guide and the seed."""
    data = parts.data.description.split(",")[0]
    prior = getattr(parts.model, "prior", None)
    used = [] if prior is None else [f"{_words(prior)} prior"]
    said = (
        f"{data[0].upper()}{data[1:]}: {', '.join([*used, f'{_words(parts.guide)} guide'])}, seed {configuration.seed}"
    )
    return f"{configuration.name.replace('_', ' ')}. {said}" if configuration.name else said


def _words(part: object) -> str:
    """``MeanFieldNormal`` as "mean field normal"; without what it is called besides."""
    name = type(part).__name__.removesuffix("Prior").removesuffix("Guide")
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).lower().replace("ard", "ARD")


def _failed(parts: Parts, evaluation: Evaluation, findings: xr.Dataset | None, draws: int) -> list[str]:
    """How many tests failed, how the model stands beside good ones, and a sentence for each cause."""
    if findings is None:
        return []
    failed, behind = summed_up(findings), causes(parts, evaluation, findings)
    if not failed:
        return []
    names = "; ".join(f"{cause.name} ({', '.join(cause.tests)})" for cause in behind)
    good = reached(parts, draws)
    beside = [good.sentence(findings)] if good.data else []
    return [f"{failed}: {names}; see diagnostics.html.", *beside, *(cause.sentence() for cause in behind)]


def _lead(history: xr.Dataset, evaluation: Evaluation) -> str:
    count = evaluation.tree["sample_stats"].sizes["image"]
    return (
        f"Trained for {history.sizes['epoch']} epochs in {float(history['seconds'].sum()):.0f} s "
        f"({history.attrs['execution']} steps), "
        f"measured on the first {count} training {noun_in(evaluation.tree).many}."
    )


def _summary(history: xr.Dataset, evaluation: Evaluation) -> Summary:
    metrics, error = evaluation.metrics, reconstruction_error(evaluation)
    rule, number = used(metrics)
    summary: Summary = {
        f"latents used, by {rule}": (number, f"of {evaluation.counted}"),
        "rate": (metrics["rate"], f"nats per {noun_in(evaluation.tree)}"),
    }
    if evaluation.information is not None:
        split = evaluation.information
        summary["what z says of x"] = (
            metrics["mutual_information"],
            f"nats, of at most {split.attrs['cap']:.3g}: {split.attrs['verdict']}",
        )
    if error is not None:
        summary["reconstruction error"] = (error, reconstruction_unit(evaluation))
    if "informative_by_probability" in metrics:
        summary["latents used, by p < ½"] = (
            metrics["informative_by_probability"],
            f"paper: {PAPER['informative_by_probability']}",
        )
    names = meanings.metric_names()
    summary |= {names[name]: (metrics[name], "of 1") for name in ("dci", "mig") if name in metrics}
    summary["speed"] = (float(history["images_per_second"].median()), f"{noun_in(evaluation.tree).many} per second")
    return summary


def _metrics_table(evaluation: Evaluation, *, ngvae: bool) -> Table:
    """What was measured and says something of this pair, each row with its meaning."""
    measured = {name: value for name, value in evaluation.metrics.items() if not math.isnan(value)}
    terms = meanings.metrics(noun_in(evaluation.tree))
    names = [name for name in terms if name in measured]
    if evaluation.hierarchical:  # the groups have a table of their own
        names = [name for name in names if not name.startswith("rate_")]
    if not ngvae:  # the paper's own words about its table
        names = [name for name in names if not name.startswith("decorrelation_literal")]
    known = [(terms[name].name, measured[name], PAPER.get(name)) for name in names]
    notes = meanings.notes(terms) | meanings.PAPER
    if not ngvae:
        return Table("Metrics", ("metric", "here"), [row[:2] for row in known], notes=notes)
    caption = "The paper leaves the readings open; its data, their number and the training's length differ from these."
    return Table("Table I, this run", ("metric", "here", "paper (NGVAE)"), known, caption, notes)


def _information_table(split: xr.Dataset | None, noun: Noun) -> list[Table]:
    """The rate and the log likelihood in parts, with the verdict."""
    if split is None:
        return []
    terms = meanings.parts(noun)
    rows: list[tuple[str, float, float | None]] = [
        (term.name, float(split[name]), float(split[f"{name}_error"])) for name, term in terms.items() if name in split
    ]
    for site in split["site"].values if "site" in split.coords else ():
        rows.append((f"rate of {site}", float(split["site_rate"].sel(site=site)), None))
        rows.append((f"gained by {site} alone", float(split["site_gain"].sel(site=site)), None))
    advice = f" Try: {split.attrs['advice']}." if split.attrs["advice"] else ""
    caption = (
        f"{split.attrs['what'][0].upper()}{split.attrs['what'][1:]}.{advice} Rate and information are of the first "
        f"{split.attrs['images']} training {noun.many}, the rest of the first {split.attrs['decoded']}, each decoded "
        f"under codes of its own and of {split.attrs['others']} others. The verdict is by the lesser of I(z; x) and "
        "what knowing the code gains, which no rate held up by the objective and no active unit can feign."
    )
    titles, notes = ("part", "nats", "standard error"), meanings.notes(terms)
    return [Table("Where is the information?", titles, rows, caption, notes)]


def _latents_table(evaluation: Evaluation, site: str) -> Table:
    latents = evaluation.latents[site]
    terms = {name: term for name, term in meanings.columns(noun_in(evaluation.tree)).items() if name in latents}
    sorted_by = "kl" if "kl" in terms else "signal_to_noise"
    order, names = latents[sorted_by].argsort().values[::-1], latent_names(latents)
    rows = [(names[k], *(latents[name][k].item() for name in terms)) for k in order]
    of = "" if len(evaluation.latents) == 1 else f" of {site}"
    titles = ("latent", *(term.name for term in terms.values()))
    return Table(f"Latents{of}, sorted by {terms[sorted_by].name}", titles, rows, notes=meanings.notes(terms))


def _said(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    rule, number = used(metrics)
    return (
        f"ELBO {metrics['elbo']:.6g}, rate {metrics['rate']:.4g}, distortion {metrics['distortion']:.6g} "
        f"nats per {noun_in(evaluation.tree)}; {number} of {evaluation.counted} latents used, by {rule}"
        + _verdict(evaluation.information)
    )


def _verdict(split: xr.Dataset | None) -> str:
    if split is None:
        return ""
    told, gain = (float(split[name]) for name in ("mutual_information", "gain"))
    return f"; I(z; x) {told:.3g}, gain {gain:.3g} nats: {split.attrs['verdict']}"
