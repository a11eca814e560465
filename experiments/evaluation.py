"""A trained pair, measured: posterior, ablation, metrics."""

import logging
import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import xarray as xr
from omegaconf import DictConfig

from guides import SemiSupervisedNormal
from ppvae import UserError, from_pyro_svi, information_split, log_marginal
from ppvae.diagnostics import count_informative, informative_latents
from ppvae.diagnostics.contents import codes_of, event_dims_of, group_of, rate_of
from ppvae.interventions import ablate, reconstruct, relevance, traverse
from ppvae.metrics import (
    beta_vae_metric,
    decorrelation,
    entropy,
    factor_shares,
    knn_accuracy,
    knn_explained,
    moment_kl,
)
from ppvae.pair.untouched import device_of

from .assemble import Parts, held_out, images_apart
from .codes import mean_codes, of_site, readings
from .factor_scores import FactorScores, factor_scores
from .some_labels import accuracy, label_of, named

__all__ = ["EXPLAINED", "NEIGHBOURS", "Evaluation", "evaluate"]

logger = logging.getLogger(__name__)

NEIGHBOURS = 10
NAMING = 1000  # images from which independent columns share less than a tenth of a factor of 32 levels by chance
MOST_CODES = 3  # that are ablated and traversed; of more, the first and those of the largest rates
EXPLAINED = 0.9  # R² above which a factor counts as known


@dataclass(frozen=True)
class Evaluation:
    """Posterior DataTree of the first training images and what was measured on it."""

    tree: xr.DataTree
    reconstructions: xr.DataArray
    traversals: dict[str, xr.DataArray]  # by code, of those that are shown
    latents: dict[str, xr.Dataset]  # of all codes
    metrics: dict[str, float]
    held_out: xr.Dataset | None  # log p(x) of each test image
    scores: FactorScores | None = None  # what single latents say of the factors
    labels: xr.Dataset | None = None  # how many test images of each label have which named by the classifier

    @property
    def counted(self) -> int:
        """The latents of all codes; a feature map is one."""
        return sum(latents.sizes["latent"] for latents in self.latents.values())

    @property
    def hierarchical(self) -> bool:
        """Whether some code's distribution under the model depends on another code."""
        return any(traversal.attrs["dependent"] for traversal in self.traversals.values())

    @property
    def information(self) -> xr.Dataset | None:
        """Where the information is, if that was measured."""
        return self.tree["information"].to_dataset() if "information" in self.tree.children else None


def evaluate(parts: Parts, configuration: DictConfig) -> Evaluation:
    """Draw the posterior and compute Table I's metrics, with sampled and with mean latents; log p(x) of test images."""
    wanted, model, guide = configuration.posterior, parts.model, parts.guide
    index = slice(min(wanted.images, len(parts.data)))
    factors = None if parts.data.factors is None else parts.data.factors.isel(image=index)
    options = {"batch_size": wanted.batch_size, "seed": configuration.seed}
    kept = wanted.get("sites")
    options |= {} if kept is None else {"sites": list(kept), "moments": True}
    tree = from_pyro_svi(model, guide, parts.data.subset(index), wanted.draws, constant_data=factors, **options)
    few, sites = tree.isel(image=slice(wanted.ablation_images)), shown_codes(tree)
    ablated = {site: ablate(model, few, site=site) for site in sites}
    worth = {site: relevance(model, few, site=site) for site in sites if "relative" in ablated[site]}
    latents = {
        site: informative_latents(tree, ablated.get(site), relevance=worth.get(site), site=site)
        for site in codes_of(tree)
    }
    if factors is not None and factors.sizes["image"] >= NAMING:
        latents = _named(latents, tree, factors)
    split = _information(parts, configuration)
    if split is not None:
        tree["information"] = xr.DataTree(split)
    scores = factor_scores(mean_codes(tree), factors, configuration.seed)
    found, labels = _of_held_out(parts, configuration), _labels_named(parts, configuration)
    return Evaluation(
        tree=tree,
        reconstructions=reconstruct(model, tree.isel(image=slice(64))),
        traversals={site: traverse(model, tree, site=site) for site in sites},
        latents=latents,
        metrics=_metrics(tree, latents, factors, configuration.seed)
        | ({} if scores is None else scores.metrics())
        | _information_metrics(split)
        | _held_out_metrics(parts, found)
        | ({} if labels is None else {"label_accuracy": float(labels["score"])}),
        held_out=found,
        scores=scores,
        labels=labels,
    )


def _named(latents: dict[str, xr.Dataset], tree: xr.DataTree, factors: xr.Dataset) -> dict[str, xr.Dataset]:
    """With the ``factor`` that each latent tells most of, and the ``factor_share`` of its entropy that it tells."""
    shares = factor_shares(mean_codes(tree), factors).dropna("factor")
    if not shares.sizes["factor"]:
        return latents
    told = {site: of_site(shares, tree, site) for site in latents}
    best = {site: {"factor": one.idxmax("factor"), "factor_share": one.max("factor")} for site, one in told.items()}
    return {site: found.assign(best[site]) for site, found in latents.items()}


def shown_codes(tree: xr.DataTree) -> list[str]:
    """The codes that a page shows one by one, in their order: all of a few, else the first and the largest by rate."""
    codes = codes_of(tree)
    if len(codes) <= MOST_CODES:
        return codes
    largest = sorted(codes[1:], key=lambda site: rate_of(tree, site), reverse=True)[: MOST_CODES - 1]
    return [site for site in codes if site == codes[0] or site in largest]


def _metrics(
    tree: xr.DataTree, latents: dict[str, xr.Dataset], factors: xr.Dataset | None, seed: int
) -> dict[str, float]:
    """What can be measured; a metric that these images are too few for is left out and no reason to lose the run."""
    statistics = group_of(tree, "sample_stats")
    codes = readings(tree)
    metrics = {"elbo": float(statistics["elbo"].mean()), "rate": _rate(statistics)}
    metrics["distortion"] = -sum(float(term.mean()) for term in tree["log_likelihood"].data_vars.values())
    for reading, code in codes.items():
        metrics |= _covariance_metrics(code, reading)
    metrics |= _of_factors(codes["mean"], factors, seed)
    vectors = all(len(event_dims_of(tree, site)) < 2 for site in latents)  # whole codes, not maps' means
    if "sampled" in codes and vectors:
        metrics["moment_kl"] = float(moment_kl(codes["sampled"]))
    if len(latents) > 1:
        metrics |= {f"rate_{site}": rate_of(tree, site) for site in latents}
    counts = [count_informative(found).data_vars for found in latents.values()]
    for name in counts[0]:
        if all(name in count for count in counts):  # a rule by which all codes are judged
            metrics[f"informative_{name}"] = sum(int(count[name]) for count in counts)
    signals = [signal for signal in map(_hidden_signal, latents.values()) if not math.isnan(signal)]
    metrics["largest_snr_called_uninformative"] = max(signals, default=math.nan)
    return metrics


def _of_factors(codes: xr.DataArray, factors: xr.Dataset | None, seed: int) -> dict[str, float]:
    """What the mean codes say about the factors of the images."""
    metrics: dict[str, float] = {}
    if factors is None:
        return metrics
    labelled = "label" in factors and "levels" in factors["label"].attrs
    if labelled and factors.sizes["image"] >= 2 * NEIGHBOURS:
        metrics["knn_accuracy"] = float(knn_accuracy(codes, factors["label"], neighbours=NEIGHBOURS, seed=seed))
    if len(factors.data_vars) > 1:
        known = [_explained(codes, factor, seed) > EXPLAINED for factor in factors.data_vars.values()]
        metrics["factors_explained"] = sum(known)
        try:
            found = beta_vae_metric(codes, factors, seed=seed)["score"]
            metrics["disentanglement"] = float(found)
            if "binned" in found.attrs:
                logger.info("the β-VAE metric is of levels; continuous factors: %s", found.attrs["binned"])
        except UserError as error:  # too few images for the factors' levels: no reason to lose the run
            logger.warning("no β-VAE metric: %s", error)
    return metrics


def _explained(codes: xr.DataArray, factor: xr.DataArray, seed: int) -> float:
    """R² of a factor from the nearest codes; NaN where so few images do not tell."""
    try:
        return float(knn_explained(codes, factor, neighbours=NEIGHBOURS, seed=seed))
    except UserError:  # one level, or fewer images than the folds need
        return float("nan")


def _covariance_metrics(code: xr.DataArray, reading: str) -> dict[str, float]:
    """Entropy and decorrelation; without those that are not defined, as all latents collapsed or there is but one."""
    metrics = {}
    if bool((code != code.isel(image=0)).any()):
        metrics[f"entropy_{reading}"] = float(entropy(code))
        if code.sizes["latent"] > 1:
            metrics[f"decorrelation_{reading}"] = float(decorrelation(code))
            metrics[f"decorrelation_literal_{reading}"] = float(decorrelation(code, reading="literal"))
    return metrics


def _information(parts: Parts, configuration: DictConfig) -> xr.Dataset | None:
    """Where the information is, of the first training images; None, logged, for a pair of which that cannot be said."""
    wanted = configuration.get("information")
    if wanted is None or not wanted.images:
        return None
    data = parts.data.subset(slice(min(wanted.images, len(parts.data))))
    options = {"others": wanted.others, "decoded": wanted.decoded, "batch_size": configuration.posterior.batch_size}
    try:
        return information_split(parts.model, parts.guide, data, seed=configuration.seed, **options)
    except UserError as error:
        logger.warning("where the information is cannot be said: %s", error)
        return None


def _information_metrics(split: xr.Dataset | None) -> dict[str, float]:
    if split is None:
        return {}
    return {
        "mutual_information": float(split["mutual_information"]),
        "mutual_information_cap": split.attrs["cap"],
        "information_gain": float(split["gain"]),
    }


def _of_held_out(parts: Parts, configuration: DictConfig) -> xr.Dataset | None:
    """log p(x) of each test image, where the configuration wants some."""
    data = held_out(configuration)
    if data is None:
        return None
    options = {"batch_size": configuration.held_out.batch_size, "seed": configuration.seed}
    options["progress"] = configuration.trainer.progress
    found = log_marginal(parts.model, parts.guide, data, configuration.held_out.samples, **options)
    return found.assign_attrs(kind=data.kind)


def _labels_named(parts: Parts, configuration: DictConfig) -> xr.Dataset | None:
    """What the classifier calls test images, where some labels are known and the configuration wants to know."""
    labels = configuration.get("labels")
    if labels is None:
        return None
    data = images_apart(configuration, "labels.images", labels.images)
    if data is None:
        return None
    guide = cast(SemiSupervisedNormal, parts.guide)
    found = named(guide.classify, data, configuration.held_out.batch_size, device_of(guide))
    return accuracy(found, label_of(data, labels))


def _held_out_metrics(parts: Parts, found: xr.Dataset | None) -> dict[str, float]:
    """−log p(x) and −ELBO of test images in nats, and in bits a pixel where that is a probability of 256 levels."""
    if found is None:
        return {}
    metrics = {
        "test_nll": -float(found["log_marginal"].mean()),
        "test_nll_standard_error": _standard_error(found["log_marginal"].values),
        "test_negative_elbo": -float(found["elbo"].mean()),
        "test_effective_samples": float(found["effective_samples"].median()),
        "test_pareto_k_too_large": float((found["pareto_k"] > found["pareto_k"].attrs["good"]).mean()),
    }
    kinds = getattr(getattr(parts.model, "likelihood", None), "kinds", ())
    if found.attrs["kind"] == "8-bit" and "8-bit" in kinds and "real" not in kinds:  # no density of reals, no surrogate
        metrics["test_bits_per_dim"] = metrics["test_nll"] / (math.prod(parts.data.image_shape) * math.log(2))
    return metrics


def _standard_error(values: np.ndarray) -> float:
    """Of the mean; NaN for one value."""
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def _rate(statistics: xr.Dataset) -> float:
    """Mean over images of all KLs, whatever dims they have."""
    kls = [statistics[name] for name in map(str, statistics) if name == "kl" or name.startswith("kl_")]
    return float(sum(kl.sum([dim for dim in kl.dims if dim != "image"]).mean() for kl in kls))


def _hidden_signal(latents: xr.Dataset) -> float:
    """Largest signal-to-noise ratio among latents that p calls uninformative; NaN where there is none."""
    if "by_probability" not in latents:
        return float("nan")
    ratios = latents["signal_to_noise"].values[~latents["by_probability"].values]
    return float(np.max(ratios)) if ratios.size else float("nan")
