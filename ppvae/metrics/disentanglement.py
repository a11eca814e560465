"""The β-VAE disentanglement metric (Higgins et al., 2017) from codes and the factors of the images they came from."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr
from sklearn.linear_model import LogisticRegression

from ppvae.errors import UserError

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

# Locatello's classifier is scikit-learn's default: multinomial, L2 (its default penalty), C = 1. The objective is
# strictly convex in the weights; Newton's method finds its minimum where L-BFGS stops early on codes of unlike scales.
CLASSIFIER = MappingProxyType(
    {"C": 1.0, "fit_intercept": True, "class_weight": None, "solver": "newton-cg", "tol": 1e-4, "max_iter": 1_000}
)


def beta_vae_metric(
    codes: xr.DataArray, factors: xr.Dataset, *, preset: str = "locatello", seed: int = 0
) -> xr.Dataset:
    """Accuracy with which a linear classifier tells which factor two groups of images share.

    A point: choose a factor y; draw `pairs` pairs of images alike in y and otherwise free; the point is
    z_diff = mean over the pairs of |r(x_1) - r(x_2)|, elementwise, and its label y. The score is the classifier's
    accuracy on fresh points: 1 / F by chance. Pairs come from the given images: the first at random, the second at
    random among the *other* images of its level (an image paired with itself would shrink z_diff most for the factor
    with most levels, and so give it away); an image alone at its level is passed over.

    `codes`: (image, latent), the means of q(z|x). `factors`: integer levels (image), a variable a factor; where both
    name their images, the factors are looked up by name. Presets: `locatello` (64 pairs, 10 000 points to train,
    5 000 to evaluate), `quick` (64, 1 000, 1 000).
    Returns `score` (its attrs name preset, numbers, classifier and binomial standard error) and `accuracy` (factor).

    The score cannot see one factor missing from the codes; it hangs on the scale of each latent, as the classifier's
    penalty does; and for rotated codes on the rotation itself. Few images raise it: on noise, 15 latents and 5 factors
    of 3 to 32 levels, it came to 0.26 with 500 images, 0.22 with 1 000 and to chance, 0.20, from 5 000.
    Raises UserError for codes or factors that do not fit each other, for fewer than two factors, for a factor with
    one level and for too few images to pair.
    Source: Higgins et al., β-VAE, ICLR 2017; numbers and classifier: Locatello et al., ICML 2019 (disentanglement_lib).
    """
    numbers = _preset(preset)
    values = _code_values(codes)
    levels = {name: _checked_levels(name, factor) for name, factor in _matched_factors(codes, factors).items()}
    pools = [_pool(name, array) for name, array in levels.items()]
    rng = np.random.default_rng(seed)
    points, labels = _points(values, pools, numbers.train, numbers.pairs, rng)
    fresh_points, fresh_labels = _points(values, pools, numbers.evaluate, numbers.pairs, rng)
    classifier = LogisticRegression(**CLASSIFIER).fit(points, labels)
    return _result(classifier.predict(fresh_points) == fresh_labels, fresh_labels, list(levels), preset, seed)


@dataclass(frozen=True)
class _Pool:
    """The images sorted by one factor's level, and for each of them where its level starts and how many share it."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray
    paired: np.ndarray  # positions in `order` of the images that have a partner

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        first = self.paired[rng.integers(0, len(self.paired), shape)]
        start, count = self.start[first], self.count[first]
        # a step of 1 … count - 1 around the ring of the level: every other image alike likely
        second = start + (first - start + rng.integers(1, count)) % count
        return self.order[first], self.order[second]


def _pool(name: Hashable, levels: np.ndarray) -> _Pool:
    order = np.argsort(levels, kind="stable")
    _, start, count = np.unique(levels[order], return_index=True, return_counts=True)
    start, count = np.repeat(start, count), np.repeat(count, count)
    paired = np.flatnonzero(count > 1)
    if 2 * len(paired) < len(levels):
        raise UserError(
            f"factor {name!r}: {len(levels) - len(paired)} of {len(levels)} images are alone at their level, "
            "expected at most half: give more images or coarser levels"
        )
    return _Pool(order, start, count, paired)


def _points(
    codes: np.ndarray, pools: list[_Pool], size: int, pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points z_diff (size, latent) and labels (size)."""
    labels = rng.integers(0, len(pools), size)
    points = np.empty((size, codes.shape[1]))
    for label, pool in enumerate(pools):
        rows = np.flatnonzero(labels == label)
        for chunk in np.split(rows, range(POINTS_PER_CHUNK, len(rows), POINTS_PER_CHUNK)):
            first, second = pool.draw((len(chunk), pairs), rng)
            points[chunk] = np.abs(codes[first] - codes[second]).mean(1)
    return points, labels


def _result(correct: np.ndarray, labels: np.ndarray, names: list[Hashable], preset: str, seed: int) -> xr.Dataset:
    score = float(correct.mean())
    numbers = BETA_VAE_PRESETS[preset]
    attrs = {
        "long_name": "β-VAE metric",
        "units": "1",
        "preset": preset,
        "pairs": numbers.pairs,
        "train_points": numbers.train,
        "evaluation_points": numbers.evaluate,
        "classifier": "LogisticRegression(L2, "
        + ", ".join(f"{key}={value}" for key, value in CLASSIFIER.items())
        + ")",
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
        coords={"factor": [str(name) for name in names]},
    )


def _preset(name: str) -> BetaVAEPreset:
    if name not in BETA_VAE_PRESETS:
        raise UserError(f"preset={name!r} is unknown; choose one of {', '.join(BETA_VAE_PRESETS)}")
    return BETA_VAE_PRESETS[name]


def _code_values(codes: xr.DataArray) -> np.ndarray:
    if not isinstance(codes, xr.DataArray) or set(codes.dims) != {"image", "latent"}:
        found = codes.dims if isinstance(codes, xr.DataArray) else type(codes).__name__
        raise UserError(f"codes came as {found}; expected dims (image, latent): take z_mean from sample_stats")
    values = codes.transpose("image", "latent").values
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise UserError(f"codes hold {count} values that are not finite; expected numbers: look for a diverged run")
    return values


def _matched_factors(codes: xr.DataArray, factors: xr.Dataset) -> xr.Dataset:
    """The factors of the codes' images, in the codes' order."""
    if not isinstance(factors, xr.Dataset) or len(factors.data_vars) < 2:
        found = list(factors.data_vars) if isinstance(factors, xr.Dataset) else type(factors).__name__
        raise UserError(
            f"factors came as {found}; expected a Dataset of two factors or more: use a data set with factors"
        )
    if "image" in codes.indexes and "image" in factors.indexes:
        images = factors.indexes["image"]
        if not images.is_unique or not codes.indexes["image"].isin(images).all():
            raise UserError("codes name images that factors lack or name twice; expected one of each: use one data set")
        factors = factors.sel(image=codes["image"])
    if factors.sizes.get("image") != codes.sizes["image"]:
        raise UserError(
            f"factors came with {factors.sizes.get('image', 0)} images, codes with {codes.sizes['image']}: "
            "give the factors of the images that were encoded"
        )
    return factors


def _checked_levels(name: Hashable, factor: xr.DataArray) -> np.ndarray:
    if factor.dims != ("image",) or factor.dtype.kind not in "iub":
        raise UserError(
            f"factor {name!r} came as {factor.dtype} with dims {factor.dims}; expected integer levels (image): "
            "give level indices or drop it"
        )
    levels = np.asarray(factor.values)
    if levels.min() == levels.max():
        raise UserError(f"factor {name!r} has one level in these images; expected two or more: drop it from factors")
    return levels
