"""Modularity and explicitness (Ridgeway and Mozer, 2018): one factor a latent, and every factor read off linearly."""

import numpy as np
import xarray as xr
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from ppvae.metrics.inputs import code_values, matched_levels, said_bins
from ppvae.metrics.mutual_information import BINNED_PRESETS, information
from ppvae.metrics.presets import LOGISTIC, SPLIT_PRESETS, chosen, scored, written
from ppvae.metrics.splits import Split, split_images

__all__ = ["explicitness", "modularity"]


def modularity(codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0) -> xr.Dataset:
    """How nearly each latent tells of one factor only, mean over the latents.

    Latent j: 1 − Σ_{k≠k*} I_jk² / ((F − 1) I_jk*²), k* the factor it knows most of, with plug-in mutual information of
    codes in equal-width bins; 0 for a latent that knows nothing at all.

    ``codes``: (image, latent), the means of q(z|x), two latents or more. ``factors``: integer levels (image), or
    floats, which are put into bins that ``binned`` in the score's attributes tells; a variable a factor; where both
    name their images, the factors are looked up by name. Presets: ``locatello`` (20 bins, at most 10 000 images, drawn
    at random), ``quick`` (20, 2 000). Returns ``score`` (its attrs name preset, numbers and seed), ``modularity``
    (latent) and ``mutual_information`` (factor, latent) in nats.

    It cannot see a factor that no latent knows, nor one that many share. It punishes collapsed latents: a constant one
    counts 0, so perfect codes of dSprites with five of them beside score 0.5; with a trace of noise it counts about
    0.65, as noise does, and the score is 0.82: plug-in information grows with a factor's levels, so noise seems to
    know the one with most. There is no chance level, and 0.65 means nothing.
    Invariant to each latent's scale, shift and sign.
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for one latent or fewer
    than two factors and for a factor with one level.
    Source: Ridgeway and Mozer, NeurIPS 2018, Section 3; bins and mean over all latents: Locatello et al., 2019.
    """
    numbers = chosen(preset, BINNED_PRESETS)
    found = information(codes, factors, numbers, seed)
    squared = found.table.values**2
    most = squared.max(0)
    rest = np.divide(squared.sum(0) - most, most, out=np.full_like(most, len(squared) - 1), where=most > 0)
    of_latent = 1 - rest / (len(squared) - 1)
    score = scored(
        of_latent.mean(), "modularity", preset, numbers, used_images=found.images, seed=seed, **said_bins(factors)
    )
    return xr.Dataset(
        {
            "score": score,
            "modularity": ("latent", of_latent, {"long_name": "modularity of this latent", "units": "1"}),
            "mutual_information": found.table,
        }
    )


def explicitness(codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0) -> xr.Dataset:
    """Area under the ROC curve of a logistic regression of each factor on the codes, mean over levels and factors.

    One level against the rest, by the classifier's probability of that level on images it has not seen; levels absent
    on either side are left out. Chance is ½, 1 is perfect. Codes are standardised by the training images.

    ``codes``: (image, latent), the means of q(z|x). ``factors``: integer levels (image), or floats, which are put into
    bins that ``binned`` in the score's attributes tells; a variable a factor; where both name their images, the factors
    are looked up by name. Presets: ``locatello`` (10 000 images to train, 5 000 to evaluate; of fewer, the same
    shares), ``quick`` (1 000, 1 000). Returns ``score`` (its attrs name preset, numbers, classifier, seed and chance)
    and ``area`` (factor).

    It cannot see whether factors are mixed: an invertible linear map of the codes scores nearly the same (only the
    penalty sees it), and so would raw pixels. The penalty also keeps neighbouring levels of one latent apart: perfect
    codes of dSprites score 0.987 with 10 000 training images, 0.94 with 1 000.
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for fewer than two
    factors, for a factor with one level, and for so few images that no level is on both sides.
    Source: Ridgeway and Mozer, NeurIPS 2018, Section 3; numbers and classifier: Locatello et al., 2019.
    """
    numbers = chosen(preset, SPLIT_PRESETS)
    values = code_values(codes).astype(np.float64)
    levels = matched_levels(codes, factors)
    parts = split_images(levels, numbers, np.random.default_rng(seed))
    standardised = _standardised(values, parts.train)
    areas = np.array([_area(standardised, index, parts) for index in levels.values()])
    score = scored(
        areas.mean(),
        "explicitness",
        preset,
        numbers,
        **parts.said(),
        classifier=written("LogisticRegression", LOGISTIC, "L2"),
        seed=seed,
        chance=0.5,
        **said_bins(factors),
    )
    area = ("factor", areas, {"long_name": "area under the ROC curve, mean over levels", "units": "1"})
    return xr.Dataset({"score": score, "area": area}, coords={"factor": list(levels)})


def _standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    centred = values - values[train].mean(0)
    spread = values[train].std(0)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def _area(values: np.ndarray, levels: np.ndarray, parts: Split) -> float:
    classifier = LogisticRegression(**LOGISTIC).fit(values[parts.train], levels[parts.train])
    probabilities = classifier.predict_proba(values[parts.evaluate])
    hits = levels[parts.evaluate][:, None] == classifier.classes_
    return float(_areas(probabilities, hits).mean())


def _areas(scores: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Areas of the columns (image, level) that have hits and misses: the rank-sum statistic, ties shared."""
    positive = hits.sum(0)
    kept = (positive > 0) & (positive < len(hits))
    ranks, hits, positive = rankdata(scores[:, kept], axis=0), hits[:, kept], positive[kept]
    surplus = (ranks * hits).sum(0) - positive * (positive + 1) / 2
    return surplus / (positive * (len(hits) - positive))
