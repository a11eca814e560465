"""The β-VAE disentanglement metric (Higgins et al., 2017) from codes and the factors of the images they came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr
from sklearn.linear_model import LogisticRegression

from ppvae.metrics.inputs import code_values, matched_levels, said_bins
from ppvae.metrics.level_pools import LevelPool, pool_levels
from ppvae.metrics.presets import LOGISTIC, chosen, written

__all__ = ["BETA_VAE_PRESETS", "BetaVAEPreset", "beta_vae_metric"]

POINTS_PER_CHUNK = 500  # 500 points of 64 pairs of 15 latents: 4 MB


@dataclass(frozen=True)
class BetaVAEPreset:
    """The numbers of a β-VAE metric, which no paper gives: say them with every score."""

    pairs: int
    train: int
    evaluate: int


BETA_VAE_PRESETS: Mapping[str, BetaVAEPreset] = MappingProxyType(
    {
        "locatello": BetaVAEPreset(pairs=64, train=10_000, evaluate=5_000),
        "quick": BetaVAEPreset(pairs=64, train=1_000, evaluate=1_000),
    }
)


def beta_vae_metric(
    codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0
) -> xr.Dataset:
    """Accuracy with which a linear classifier tells which factor two groups of images share.

    A point: choose a factor y; draw ``pairs`` pairs of images alike in y and otherwise free; the point is
    z_diff = mean over the pairs of |r(x_1) - r(x_2)|, elementwise, and its label y. The score is the classifier's
    accuracy on fresh points: 1 / F by chance. Pairs come from the given images: the first at random, the second at
    random among the *other* images of its level (an image paired with itself would shrink z_diff most for the factor
    with most levels, and so give it away); an image alone at its level is passed over.

    ``codes``: (image, latent), the means of q(z|x). ``factors``: integer levels (image), or floats, which are put into
    bins that ``binned`` in the score's attributes tells; a variable a factor; where both name their images, the factors
    are looked up by name. Presets: ``locatello`` (64 pairs, 10 000 points to train, 5 000 to evaluate), ``quick`` (64,
    1 000, 1 000). Returns ``score`` (its attrs name preset, numbers, classifier and binomial standard error) and
    ``accuracy`` (factor).

    The score cannot see one factor missing from the codes; it hangs on the scale of each latent, as the classifier's
    penalty does; and for rotated codes on the rotation itself. Few images raise it: on noise, 15 latents and 5 factors
    of 3 to 32 levels, it came to 0.26 with 500 images, 0.22 with 1 000 and to chance, 0.20, from 5 000.
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for fewer than two
    factors, for a factor with one level and for too few images to pair.
    Source: Higgins et al., β-VAE, ICLR 2017; numbers and classifier: Locatello et al., ICML 2019 (disentanglement_lib).
    """
    numbers = chosen(preset, BETA_VAE_PRESETS)
    values = code_values(codes)
    levels = matched_levels(codes, factors)
    pools = [pool_levels(name, array) for name, array in levels.items()]
    rng = np.random.default_rng(seed)
    points, labels = _points(values, pools, numbers.train, numbers.pairs, rng)
    fresh_points, fresh_labels = _points(values, pools, numbers.evaluate, numbers.pairs, rng)
    classifier = LogisticRegression(**LOGISTIC).fit(points, labels)
    result = _result(classifier.predict(fresh_points) == fresh_labels, fresh_labels, list(levels), preset, seed)
    result["score"].attrs |= said_bins(factors)
    return result


def _points(
    codes: np.ndarray, pools: list[LevelPool], size: int, pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points z_diff (size, latent) and labels (size)."""
    labels = rng.integers(0, len(pools), size)
    points = np.empty((size, codes.shape[1]))
    for label, pool in enumerate(pools):
        rows = np.flatnonzero(labels == label)
        for chunk in np.split(rows, range(POINTS_PER_CHUNK, len(rows), POINTS_PER_CHUNK)):
            first, second = pool.pairs((len(chunk), pairs), rng)
            points[chunk] = np.abs(codes[first] - codes[second]).mean(1)
    return points, labels


def _result(correct: np.ndarray, labels: np.ndarray, names: list[str], preset: str, seed: int) -> xr.Dataset:
    score = float(correct.mean())
    numbers = BETA_VAE_PRESETS[preset]
    attrs = {
        "long_name": "β-VAE metric",
        "units": "1",
        "preset": preset,
        "pairs": numbers.pairs,
        "train_points": numbers.train,
        "evaluation_points": numbers.evaluate,
        "classifier": written("LogisticRegression", LOGISTIC, "L2"),
        "seed": seed,
        "chance": 1 / len(names),
        "standard_error": float(np.sqrt(score * (1 - score) / numbers.evaluate)),
    }
    accuracy = np.bincount(labels, correct, len(names)) / np.bincount(labels, minlength=len(names))
    return xr.Dataset(
        {
            "score": xr.DataArray(score, attrs=attrs),
            "accuracy": ("factor", accuracy, {"long_name": "accuracy where this factor is shared", "units": "1"}),
        },
        coords={"factor": names},
    )
