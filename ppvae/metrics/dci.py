"""Disentanglement, completeness and informativeness (Eastwood and Williams, 2018)."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

from ppvae.metrics.inputs import code_values, latent_coordinate, matched_levels, said_bins
from ppvae.metrics.presets import SPLIT_PRESETS, chosen, scored, written
from ppvae.metrics.splits import Split, split_images

__all__ = ["DCI_TREES", "dci_metric"]


@dataclass(frozen=True)
class Trees:
    """A classifier made of trees, and every setting that decides its splits."""

    build: Callable[..., Any]
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return written(self.build.__name__, self.settings)


SHARED = {"min_samples_split": 2, "min_weight_fraction_leaf": 0.0, "max_leaf_nodes": None, "min_impurity_decrease": 0.0}
SHARED |= {"ccp_alpha": 0.0, "max_features": None}

# Boosting's split criterion is left at its default, Friedman's: scikit-learn 1.9 deprecates naming it.
DCI_TREES: Mapping[str, Trees] = MappingProxyType(
    {
        "locatello": Trees(
            GradientBoostingClassifier,
            {"loss": "log_loss", "learning_rate": 0.1, "n_estimators": 100, "subsample": 1.0, "max_depth": 3}
            | {"min_samples_leaf": 1, "init": None, "n_iter_no_change": None}
            | SHARED,
        ),
        # leaves of 2 % of the images: grown out, the trees split on noise and its latents count as important
        "quick": Trees(
            RandomForestClassifier,
            {"n_estimators": 20, "criterion": "gini", "max_depth": None, "min_samples_leaf": 0.02}
            | {"bootstrap": True, "max_samples": None, "class_weight": None}
            | SHARED,
        ),
    }
)


def dci_metric(codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0) -> xr.Dataset:
    """DCI: whether each latent matters for one factor, each factor for one latent, and how well factors are predicted.

    R_kj is the importance of latent j in a classifier of factor k by trees (its decrease of impurity, summing to 1
    over the latents). Disentanglement of latent j: 1 − H(R_·j / Σ_k R_kj) / ln F, completeness of factor k:
    1 − H(R_k·) / ln K, each averaged by its share of R; informativeness: the classifiers' accuracy on unseen images.

    ``codes``: (image, latent), the means of q(z|x), two latents or more. ``factors``: integer levels (image), or
    floats, which are put into bins that ``binned`` in the score's attributes tells; a variable a factor; where both
    name their images, the factors are looked up by name. Presets: ``locatello`` (gradient boosting, 10 000 images to
    train, 5 000 to evaluate; of fewer, the same shares: five minutes), ``quick`` (random forest, 1 000, 1 000: a
    second). Returns ``score``, the disentanglement (its attrs name preset, numbers, classifier and seed),
    ``mean_completeness``, ``mean_informativeness`` (with its chance), and ``disentanglement`` (latent),
    ``completeness`` (factor), ``informativeness`` (factor), ``importance`` (factor, latent).

    Disentanglement cannot see a missing factor, nor completeness a latent that serves several; read all three. A
    latent without importance counts nothing. Trees split on noise where images are few for a factor's levels, and so
    lower both: presets do not compare. Nearly invariant to monotone maps of each latent, sign and scale included; the
    seed breaks ties between equal splits.
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for one latent or fewer
    than two factors and for a factor with one level.
    Source: Eastwood and Williams, ICLR 2018, Section 2; trees and numbers: Locatello et al., ICML 2019.
    """
    numbers, trees = chosen(preset, SPLIT_PRESETS), chosen(preset, DCI_TREES)
    values = code_values(codes, least_latents=2).astype(np.float64)
    levels = matched_levels(codes, factors)
    parts = split_images(levels, numbers, np.random.default_rng(seed))
    fits = [
        _fit(values, index, parts, partial(trees.build, **trees.settings, random_state=seed % 2**32))
        for index in levels.values()
    ]
    importance = np.array([fit.importance for fit in fits])
    of_latent = _concentration(importance.T)
    of_factor = _concentration(importance)
    said = parts.said() | said_bins(factors)
    describe = partial(scored, preset=preset, numbers=numbers, **said, classifier=str(trees), seed=seed)
    accuracy = np.array([fit.accuracy for fit in fits])
    chance = float(np.mean([fit.chance for fit in fits]))
    return xr.Dataset(
        {
            "score": describe(_average(of_latent, importance.sum(0)), "DCI disentanglement"),
            "mean_completeness": describe(_average(of_factor, importance.sum(1)), "DCI completeness"),
            "mean_informativeness": describe(accuracy.mean(), "DCI informativeness", chance=chance),
            "disentanglement": ("latent", of_latent, {"long_name": "disentanglement of this latent", "units": "1"}),
            "completeness": ("factor", of_factor, {"long_name": "completeness of this factor", "units": "1"}),
            "informativeness": ("factor", accuracy, {"long_name": "accuracy of this factor", "units": "1"}),
            "importance": (("factor", "latent"), importance, {"long_name": "importance in the trees", "units": "1"}),
        },
        coords={"factor": list(levels)} | latent_coordinate(codes),
    )


@dataclass(frozen=True)
class _Fit:
    """What one factor's classifier says: importance (latent), accuracy, and that of the commonest level."""

    importance: np.ndarray
    accuracy: float
    chance: float


def _fit(codes: np.ndarray, levels: np.ndarray, parts: Split, build: Callable[[], Any]) -> _Fit:
    with warnings.catch_warnings():  # few images of many levels are levels all the same
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        classifier = build().fit(codes[parts.train], levels[parts.train])
    wanted = levels[parts.evaluate]
    accuracy = float((classifier.predict(codes[parts.evaluate]) == wanted).mean())
    common = np.unique(levels[parts.train], return_counts=True)
    return _Fit(classifier.feature_importances_, accuracy, float((wanted == common[0][common[1].argmax()]).mean()))


def _concentration(rows: np.ndarray) -> np.ndarray:
    """1 − H(row) / ln(columns) of each row's shares: 1 where one column holds all, 0 where all hold alike or none."""
    total = rows.sum(1, keepdims=True)
    shares = np.divide(rows, total, out=np.full_like(rows, 1 / rows.shape[1]), where=total > 0)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)  # 0 ln 0 = 0
    return np.clip(1 + (shares * logarithms).sum(1) / np.log(rows.shape[1]), 0, 1)


def _average(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum()) if weights.sum() > 0 else 0.0
