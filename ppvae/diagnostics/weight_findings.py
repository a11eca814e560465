"""What the importance ratios of the guide's draws say, as ``importance`` reads them."""

from functools import cache

import numpy as np
import xarray as xr
from scipy import stats

from ppvae.diagnostics.findings import CONVENTION, Finding, by_chance, fall_short, rise_above
from ppvae.diagnostics.pareto import good_pareto_k, pareto_smooth
from ppvae.errors import UserError
from ppvae.nouns import Noun

__all__ = ["chance_above", "effective_draws", "pareto_shape", "tightness"]

RICHER = "use a richer guide (full covariance, inverse autoregressive) or train the encoder on more data"
RICHER_WHOLE = "use a richer guide (full covariance, inverse autoregressive) or train it longer"
UNUSABLE = 0.7  # k̂ above which no practical number of draws helps
TOLERATED = 0.05  # share of images above the threshold that passes however many images there are


def tightness(found: xr.Dataset, level: float, _noun: Noun) -> Finding:
    """How far the importance-weighted bound is above the ELBO, nats: an estimate from below of KL(q ‖ p(z | x))."""
    del level
    gaps = (found["elpd"] - found["elbo"]).values
    gap = max(float(gaps.mean()), 0.0)  # by Jensen's inequality; what is below is rounding
    error = f" ± {gaps.std(ddof=1) / gaps.size**0.5:.2f}" if gaps.size > 1 else ""
    return Finding(
        statistic=gap,
        threshold=1.0,
        limit=10.0,
        verdict=rise_above(gap, 1.0, 10.0),
        basis=CONVENTION,
        what=f"the importance-weighted bound is {gap:.2f}{error} nats above the ELBO",
        advice="the ELBO understates log p(x): " + (f"{RICHER}; report log_marginal" if found.dims else RICHER_WHOLE),
    )


def pareto_shape(found: xr.Dataset, level: float, noun: Noun) -> Finding:
    """The share of images whose k̂ is above the threshold, beside what chance gives at this number of draws.

    Chance: the share of tails of exponential weights (k = 0, all moments finite) estimated above it. Of a guide as a
    whole, k̂ itself.
    """
    shape, draws, good = found["pareto_k"].values, found.attrs["num_samples"], found["pareto_k"].attrs["good"]
    fitted = ~np.isnan(shape)
    if not fitted.any():
        raise UserError(f"no tail could be fitted to {draws} draws; give from_pyro_svi a num_samples of at least 30")
    if not found.dims:
        return _whole_shape(float(shape), good)
    count, above = int(fitted.sum()), int((shape[fitted] > good).sum())
    threshold = max(TOLERATED, float(stats.binom.isf(level, count, chance_above(draws))) / count)
    seen = f"{above} of {count} {noun.many}, median {_shown(np.median(shape[fitted]))}"
    seen += f", {len(shape) - count} without a fit" if count < len(shape) else ""
    return Finding(
        statistic=above / count,
        size=float(np.median(shape[fitted])),
        threshold=threshold,
        limit=0.5,
        verdict=rise_above(above / count, threshold, 0.5),
        basis=by_chance(level),
        what=f"k̂ is above {good:.2f} for {seen}",
        advice=f"importance weights of these {noun.many} are not to be trusted, q's tails are too light: {RICHER}",
    )


def _shown(shape: float) -> str:
    """∞ where one draw holds all weight, −∞ where all are equal."""
    return f"{shape:.2f}".replace("-", "−").replace("inf", "∞")


def _whole_shape(shape: float, good: float) -> Finding:
    """Warns above the number of draws' own threshold, fails above Yao et al.'s."""
    return Finding(
        statistic=shape,
        threshold=good,
        limit=UNUSABLE,
        verdict=rise_above(shape, good, UNUSABLE),
        basis=CONVENTION,
        what=f"k̂ of the guide as a whole is {shape:.2f}, to be trusted up to {good:.2f}",
        advice=f"importance weights are not to be trusted, q's tails are too light: {RICHER_WHOLE}",
    )


def effective_draws(found: xr.Dataset, level: float, noun: Noun) -> Finding:
    """The median over images of the effective draws, or the whole guide's."""
    del level
    draws, median = found.attrs["num_samples"], float(found["effective_samples"].median())
    if draws < 20:
        raise UserError(f"{draws} draws are too few to count effective ones; give from_pyro_svi at least 20")
    return Finding(
        statistic=median,
        size=100 * median / draws,
        threshold=0.1 * draws,
        limit=2.0,
        verdict=fall_short(median, 0.1 * draws, 2.0),
        basis=CONVENTION,
        what=f"{median:.0f} of {draws} draws are effective{f' in the median {noun.one}' if found.dims else ''}",
        advice=f"weighted averages hang on few draws: {RICHER if found.dims else RICHER_WHOLE}, or raise num_samples",
    )


@cache
def chance_above(draws: int) -> float:
    """How often k̂ of ``draws`` exponential weights is above the threshold, by simulation."""
    sets = int(np.clip(2_000_000 // draws, 200, 4000))
    ratios = np.log(np.random.default_rng(0).standard_exponential((sets, draws)))
    return float((pareto_smooth(ratios)[1] > good_pareto_k(draws)).mean())
