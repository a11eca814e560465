"""How far a metric's score would move had other images of the same kind been drawn."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ppvae.errors import UserError, check_whole
from ppvae.metrics.inputs import paired_images

__all__ = ["score_interval"]

Metric = Callable[..., xr.Dataset | xr.DataArray]


def score_interval(
    metric: Metric,
    codes: xr.DataArray,
    factors: xr.Dataset | xr.DataArray | None = None,
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> xr.Dataset:
    """Percentile interval of a metric's score over images, from random halves of them without replacement.

    A half's score θ_m varies about its mean with variance σ²(1/m − 1/N), which for m = N/2 is σ²/N, that of the score
    of all N images: no rescaling. The interval is θ_N + quantiles of (θ_m − mean θ_m): halves have fewer images and
    so another bias, which centring takes out of the interval; what bias θ_N has itself stays.
    Too wide, up to twice, where a score's spread falls faster than 1/√N: modularity, whose spread is plug-in noise
    (measured: twice), or entropy near its maximum (1.4 times).
    The bootstrap proper, with replacement, puts copies of one image on both sides of a metric's split and into its
    pairs. On noise codes of 2 000 images it raised the accuracy of 1 nearest neighbour from 0.17 to 0.63, DCI
    informativeness from 0.12 to 0.27, explicitness from 0.50 to 0.56 and the β-VAE metric from 0.20 to 0.25.

    ``metric(codes, factors, **options)``, or ``metric(codes, **options)`` without factors: any metric here, or a
    function alike; its result is a Dataset with ``score`` or a scalar. One that takes a ``seed`` gets ``seed``, and
    each half a fresh one, so that the noise of its own draws is in the interval. Images beyond those that a preset uses
    do not narrow what the metric sees but do narrow the interval: give no more. Returns ``score``, ``lower``,
    ``upper``, ``standard_error`` and ``halves`` (resample). An interval near a score's bound may cross it. It holds the
    models fixed: other training seeds usually move a score further.
    Errors: :class:`~ppvae.errors.UserError` for fewer than four images, fewer than 20 resamples, a level outside (0,
    1), a result that is no scalar, and whatever the metric raises.
    Source: Politis, Romano and Wolf, Subsampling, 1999; Shao and Wu, A general theory for jackknife variance
    estimation, Annals of Statistics 1989 (delete-d jackknife).
    """
    check_whole("resamples", resamples, 20)
    if not 0 < level < 1:
        raise UserError(f"level={level!r}: expected a number between 0 and 1")
    images = codes.sizes.get("image", 0)
    if images < 4:
        raise UserError(f"codes came with {images} images; expected 4 or more to draw halves from: give more")
    given = (codes,) if factors is None else (codes, paired_images(codes, factors, "codes", "factors"))
    score = _score(metric, given, options, seed)
    rng, half = np.random.default_rng(seed), images // 2
    chosen = [np.sort(rng.permutation(images)[:half]) for _ in range(resamples)]
    halves = np.array(
        [
            _score(metric, tuple(part.isel(image=images) for part in given), options, seed + 1 + number)
            for number, images in enumerate(chosen)
        ]
    )
    return _interval(score, halves, np.sqrt(half / (images - half)), level, seed)


def _interval(score: float, halves: np.ndarray, scale: float, level: float, seed: int) -> xr.Dataset:
    deviations = scale * (halves - halves.mean())
    lower, upper = score + np.quantile(deviations, [(1 - level) / 2, (1 + level) / 2])
    attrs = {"units": "that of the score", "level": level, "resamples": len(halves), "seed": seed}
    return xr.Dataset(
        {
            "score": ((), score, attrs | {"long_name": "score of all images"}),
            "lower": ((), lower, attrs | {"long_name": "lower end of the interval over images"}),
            "upper": ((), upper, attrs | {"long_name": "upper end of the interval over images"}),
            "standard_error": ((), deviations.std(ddof=1), attrs | {"long_name": "standard error over images"}),
            "halves": ("resample", halves, attrs | {"long_name": "score of a random half of the images"}),
        }
    )


def _score(metric: Metric, given: tuple[Any, ...], options: dict[str, Any], seed: int) -> float:
    seeded = {"seed": seed} if "seed" in inspect.signature(metric).parameters else {}
    result = metric(*given, **options, **seeded)
    value = result["score"] if isinstance(result, xr.Dataset) and "score" in result else result
    if isinstance(value, xr.Dataset) or np.ndim(value) != 0:
        raise UserError(
            f"the metric returned {type(result).__name__}, expected a scalar or a Dataset with scalar 'score'"
        )
    return float(value)
