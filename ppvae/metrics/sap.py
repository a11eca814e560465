"""Separated attribute predictability (Kumar et al., 2018)."""

from collections.abc import Collection
from types import MappingProxyType

import numpy as np
import xarray as xr
from sklearn.svm import LinearSVC

from ppvae.errors import UserError
from ppvae.metrics.inputs import checked_levels, code_values, latent_coordinate, matched_factors
from ppvae.metrics.presets import SPLIT_PRESETS, chosen, scored, written
from ppvae.metrics.splits import Split, split_images

__all__ = ["sap_metric"]

# Locatello's LinearSVC(C=0.01, class_weight="balanced"), in the primal: the same optimum without random numbers.
CLASSIFIER = MappingProxyType(
    {
        "C": 0.01,
        "class_weight": "balanced",
        "penalty": "l2",
        "loss": "squared_hinge",
        "multi_class": "ovr",
        "fit_intercept": True,
        "intercept_scaling": 1.0,
        "dual": False,
        "tol": 1e-4,
        "max_iter": 1_000,
    }
)


def sap_metric(
    codes: xr.DataArray,
    factors: xr.Dataset,
    *,
    continuous: Collection[str] = (),
    preset: str = "locatello",
    seed: int = 0,
) -> xr.Dataset:
    """SAP: how much better the best single latent predicts a factor than the second best, mean over factors.

    S_jk is, for a factor of classes, the accuracy of a linear support vector machine on latent j alone, on images it
    has not seen; for a factor of floats, or one named in ``continuous``, the squared correlation of latent j and the
    factor, or its ``values`` attribute (its levels where it has none), over the images to train on. Score: mean_k
    (S_(1)k − S_(2)k).

    ``codes``: (image, latent), the means of q(z|x), two latents or more. ``factors``: integer levels (image), or
    floats, continuous factors; a variable a factor; where both name their images, the factors are looked up by name.
    Presets: ``locatello`` (10 000 images to train, 5 000 to evaluate; of fewer, the same shares; no continuous factors
    in its protocol), ``quick`` (1 000, 1 000). Returns ``score`` (its attrs name preset, numbers, classifier, seed and
    chance), ``gap`` (factor), ``predictability`` (factor, latent).

    For classes the score depends on each latent's scale, as the classifier's penalty does, and is low for perfect
    codes, as no line separates a level from those around it: 0.18 to 0.25 on dSprites, by the codes' scale and, in
    jumps, by the images drawn. It cannot see what else the best latent encodes. Squared correlations see linear
    dependence only and no scale.
    Errors: :class:`~ppvae.errors.UserError` for codes or factors that do not fit each other, for one latent or fewer
    than two factors, for a factor with one level, and for a continuous factor that is missing or has no numbers.
    Source: Kumar et al., DIP-VAE, ICLR 2018, Section 3; numbers and classifier: Locatello et al., 2019.
    """
    numbers = chosen(preset, SPLIT_PRESETS)
    values = code_values(codes, least_latents=2).astype(np.float64)
    matched = matched_factors(codes, factors)
    levels = {str(name): checked_levels(name, factor) for name, factor in matched.items()}
    floats = [name for name in levels if matched[name].dtype.kind == "f"]
    targets = {name: _numbers(name, matched, levels) for name in dict.fromkeys([*floats, *continuous])}
    parts = split_images(levels, numbers, np.random.default_rng(seed))
    table = np.array(
        [
            _correlations(values[parts.train], targets[name][parts.train])
            if name in targets
            else _accuracies(values, index, parts)
            for name, index in levels.items()
        ]
    )
    ranked = np.sort(table, axis=1)
    gap = ranked[:, -1] - ranked[:, -2]
    score = scored(
        gap.mean(),
        "separated attribute predictability",
        preset,
        numbers,
        **parts.said(),
        classifier=written("LinearSVC", CLASSIFIER),
        continuous=", ".join(targets),
        seed=seed,
        chance=0.0,
    )
    return xr.Dataset(
        {
            "score": score,
            "gap": ("factor", gap, {"long_name": "gap of this factor", "units": "1"}),
            "predictability": (("factor", "latent"), table, {"long_name": "predictability", "units": "1"}),
        },
        coords={"factor": list(levels)} | latent_coordinate(codes),
    )


def _numbers(name: str, factors: xr.Dataset, levels: dict[str, np.ndarray]) -> np.ndarray:
    """A continuous factor's value (image)."""
    if name not in levels:
        raise UserError(f"continuous names {name!r}, expected some of {', '.join(levels)}: name factors that are there")
    if factors[name].dtype.kind == "f":
        return factors[name].values.astype(np.float64)
    named = factors[name].attrs.get("values")
    if named is None:
        return levels[name].astype(np.float64)
    values = np.asarray(named)
    if values.dtype.kind not in "iuf":
        raise UserError(f"factor {name!r} has values {list(named)[:3]}, expected numbers: leave it out of continuous")
    return values[levels[name]].astype(np.float64)


def _correlations(codes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Squared correlation of each latent with the target; 0 for a constant one."""
    centred, aim = codes - codes.mean(0), target - target.mean()
    scale = (centred**2).sum(0) * (aim**2).sum()
    varies = np.ptp(codes, axis=0) > 0
    return np.divide((aim @ centred) ** 2, scale, out=np.zeros(codes.shape[1]), where=varies)


def _accuracies(codes: np.ndarray, levels: np.ndarray, parts: Split) -> np.ndarray:
    return np.array([_accuracy(column[:, None], levels, parts) for column in codes.T])


def _accuracy(column: np.ndarray, levels: np.ndarray, parts: Split) -> float:
    classifier = LinearSVC(**CLASSIFIER).fit(column[parts.train], levels[parts.train])
    return float((classifier.predict(column[parts.evaluate]) == levels[parts.evaluate]).mean())
