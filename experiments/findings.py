"""What a run found, in sentences: its latents, what they tell, and what is not to be trusted."""

import numpy as np
import xarray as xr
from scipy.stats import binomtest

from ppvae.diagnostics.contents import noun_in
from ppvae.interventions.held import images_of
from ppvae.metrics.inputs import said_bins
from ppvae.models import UNKNOWN
from ppvae.nouns import ROW, Noun, noun_of
from ppvae.pair.untouched import unit_of
from ppvae.plots.labels import latent_names, number

from .assemble import Parts
from .evaluation import Evaluation
from .selecting import Selected

__all__ = ["of_rows", "reconstruction_error", "reconstruction_unit", "sentences", "told_names", "used"]

NAMED = 8  # latents at most that are named one by one
TOLD = 0.1  # share of a factor's entropy from which a latent tells something of it


def sentences(parts: Parts, evaluation: Evaluation, chosen: Selected | None) -> list[str]:
    """What a reader should know first."""
    rule, count = used(evaluation.metrics)
    found = [f"{count} of {evaluation.counted} latents are used, by {rule}."]
    if chosen is not None:
        found = [f"{chosen.said()}." + ("" if count == len(chosen.kept) else f" {found[0]}")]
    return [
        *found,
        *_unread(evaluation),
        *_named(evaluation, parts),
        *_told(evaluation, parts),
        *_surrogate(parts),
        *_continuous(parts),
        *_hidden(evaluation, noun_in(evaluation.tree)),
    ]


def used(metrics: dict[str, float]) -> tuple[str, float]:
    """How many latents are in use, by the first of these rules that the pair allows."""
    rules = {"ablation": "by_ablation", "KL": "by_kl", "activity": "active_units"}
    rule = next(words for words, name in rules.items() if f"informative_{name}" in metrics)
    return rule, metrics[f"informative_{rules[rule]}"]


def reconstruction_error(evaluation: Evaluation) -> float | None:
    """Root mean squared error of a pixel, or of an entry that is there, where p(x | z) has a mean; else None."""
    redrawn = evaluation.reconstructions
    if redrawn.attrs["shown"] != "mean":
        return None
    observed = images_of(evaluation.tree).isel(image=slice(redrawn.sizes["image"]))
    return float(((observed - redrawn) ** 2).mean() ** 0.5)


def reconstruction_unit(evaluation: Evaluation) -> str:
    """What that error is of: a pixel, or an entry of a table as the pair sees it."""
    if not of_rows(evaluation):
        return "RMSE of a pixel in [0, 1]"
    scaled = bool((images_of(evaluation.tree)["column_scale"] != 1).any())
    return f"RMSE of an entry in its column's {'standard deviations' if scaled else 'units'}"


def of_rows(evaluation: Evaluation) -> bool:
    """Whether the images are rows of a table."""
    return noun_in(evaluation.tree) == ROW


def told_names(latents: xr.Dataset, site: str) -> list[str]:
    """``z0 hue`` for a latent that is used and tells a tenth of a factor or more; the number alone for others."""
    names = latent_names(latents, site=site)
    if "factor" not in latents:
        return names
    telling = _telling(latents)
    return [f"{name} {latents['factor'].values[k]}" if k in telling else name for k, name in enumerate(names)]


def _telling(latents: xr.Dataset) -> list[int]:
    """The places of the latents that are used and tell something of a factor, the most telling first."""
    rule = next(name for name in ("by_ablation", "by_kl", "active_units") if name in latents)
    shares = latents["factor_share"].values
    return [int(k) for k in np.argsort(-shares) if bool(latents[rule][k]) and shares[k] >= TOLD]


def _unread(evaluation: Evaluation) -> list[str]:
    """Where a rate is paid for codes that say little, or that the decoder does not read."""
    split = evaluation.information
    if split is None or split.attrs["verdict"] == "used":
        return []
    told, gain = (number(float(split[name]), 2) for name in ("mutual_information", "gain"))
    said = f"it says {told} nats about {noun_in(evaluation.tree).a}, and the decoder gains {gain} nats by it"
    return [f"But the code is {split.attrs['verdict']}: {said}."]


def _named(evaluation: Evaluation, parts: Parts) -> list[str]:
    """How well labels are named of which some were known."""
    if evaluation.labels is None or not evaluation.labels["counts"].any():
        return []
    (known,) = parts.data.inputs.values()
    noun = noun_in(evaluation.tree)
    counts = evaluation.labels["counts"].values
    right, images = int(np.trace(counts)), int(counts.sum())
    interval = binomtest(right, images).proportion_ci(method="wilson")
    told = f"{int((known != UNKNOWN).sum())} of {len(known)} training {noun.many}"
    return [
        f"Told the label of {told}, the classifier names that of {100 * right / images:.1f} % of {images} test "
        f"{noun.many} rightly (95 %: {100 * interval.low:.1f} to {100 * interval.high:.1f} %)."
    ]


def _told(evaluation: Evaluation, parts: Parts) -> list[str]:
    """Which latent tells which factor, where factors are known."""
    site, latents = next(iter(evaluation.latents.items()))
    if len(evaluation.latents) > 1 or "factor" not in latents:
        return []
    telling, names = _telling(latents), told_names(latents, site)
    if not telling:
        return ["No latent that is used tells a tenth of any known factor's entropy."]
    said = [f"{names[k]} ({float(latents['factor_share'][k]):.2f})" for k in telling[:NAMED]]
    more = f" and {len(telling) - NAMED} more" if len(telling) > NAMED else ""
    missing = sorted(set(_known(evaluation, parts)) - {str(latents["factor"].values[k]) for k in telling})
    without = f"; none tells most of {', '.join(missing)}" if missing else ""
    return [f"What each tells most of, as a share of that factor's entropy: {', '.join(said)}{more}{without}."]


def _known(evaluation: Evaluation, parts: Parts) -> list[str]:
    """The factors of the data that differ in these images."""
    given = evaluation.tree["constant_data"].to_dataset()
    named = parts.data.factors
    others = [name for name in parts.data.inputs if named is None or name not in named]
    factors = given.drop_vars(others)
    return [str(name) for name, factor in factors.data_vars.items() if len(np.unique(factor.values)) > 1]


def _surrogate(parts: Parts) -> list[str]:
    if unit_of(parts.model) == "nats":
        return []
    return [
        f"{type(parts.model.likelihood).__name__} is no density of these {noun_of(parts.data).many}: every number in "
        "nats on this page is of a surrogate, and comparable with no log-likelihood."
    ]


def _continuous(parts: Parts) -> list[str]:
    binned = {} if parts.data.factors is None else said_bins(parts.data.factors)
    return [f"Metrics of levels bin the continuous factors {names}." for names in binned.values()]


def _hidden(evaluation: Evaluation, noun: Noun) -> list[str]:
    hidden = evaluation.metrics["largest_snr_called_uninformative"]
    if not hidden > 1:
        return []
    return [
        f"p calls a latent uninformative whose signal-to-noise ratio (variance of its mean over {noun.many}, over its "
        f"posterior variance) is {hidden:.3g}: the encoder spreads μ instead of narrowing the variance. "
        "Trust KL and ablation, not p alone."
    ]
