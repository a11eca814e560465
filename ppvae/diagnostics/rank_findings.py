"""What the ranks of simulated latents say about the guide: biased, too narrow, too wide, or otherwise off."""

from bisect import bisect_left

import numpy as np
import xarray as xr
from scipy import stats

from ppvae.diagnostics.contents import group_of
from ppvae.diagnostics.findings import Finding, by_chance, fall_short, rise_above
from ppvae.diagnostics.rank_tests import calibration_tests, largest_excursion_tail
from ppvae.nouns import Noun

__all__ = ["bias", "ranks_of", "uniformity", "width"]

EXAMINE = "make it with ppvae.examine or rank_simulations"
LIMITS = {"uniformity": 0.1, "bias": 0.2}  # both are those of a normal q off by a quarter of its standard deviation
NARROW, WIDE = 0.8, 1.25


def ranks_of(tree: xr.DataTree) -> xr.Dataset:
    """The tests of the ranks in the tree's group ``calibration``."""
    return calibration_tests(group_of(tree, "calibration", EXAMINE))


def uniformity(found: xr.Dataset, level: float, _noun: Noun) -> Finding:
    """The largest distance of any latent's ranks from uniform."""
    worst = found.isel(entry=int(found["uniformity"].argmax("entry")))
    threshold = float(stats.kstwo.isf(level / found.sizes["entry"], found.attrs["simulations"]))
    size = float(worst["uniformity"])
    return Finding(
        statistic=size,
        size=float(found["uniformity"].mean()),
        threshold=threshold,
        limit=LIMITS["uniformity"],
        verdict=rise_above(size, threshold, LIMITS["uniformity"]),
        basis=by_chance(level),
        what=f"ranks of {worst['entry'].item()} are {size:.2f} off uniform, the most of {found.sizes['entry']} "
        f"entries; its 90 % intervals hold the latent in {float(worst['coverage']):.0%} of simulations, the "
        f"median entry's in {float(found['coverage'].median()):.0%}",
        advice="intervals of q(z|x) do not hold what they promise: see bias and width for the kind of fault",
    )


def bias(found: xr.Dataset, level: float, _noun: Noun) -> Finding:
    """The largest asymmetry of any latent's ranks: the guide's mean is off on average."""
    worst = found.isel(entry=int(found["asymmetry"].argmax("entry")))
    count = found.attrs["simulations"]
    threshold = _usual_excursion(level / found.sizes["entry"], count) / count
    size, mean = float(worst["asymmetry"]), float(worst["mean"])
    verdict = rise_above(size, threshold, LIMITS["bias"])
    side, share = ("high", 1 - mean) if mean < 0.5 else ("low", mean)
    shifted = f"draws of {worst['entry'].item()} are shifted, too {side}: {share:.0%} of them are on that side of z"
    even = f"ranks lie evenly about the middle; mean rank of {worst['entry'].item()} is {mean:.2f}"
    return Finding(
        statistic=size,
        size=float(found["asymmetry"].mean()),
        threshold=threshold,
        limit=LIMITS["bias"],
        verdict=verdict,
        basis=by_chance(level),
        what=even if verdict == "pass" else shifted,
        advice="the guide's means are biased: train the guide longer, or on draws of the model; widen the encoder",
    )


def width(found: xr.Dataset, level: float, _noun: Noun) -> Finding:
    """How wide the guide's draws are beside the right width, of the latent farthest out."""
    low, high = _usual_widths(level / found.sizes["entry"], found.attrs["simulations"])
    out = np.maximum(low / found["width"], found["width"] / high)
    worst = found.isel(entry=int(out.argmax("entry")))
    size, entry = float(worst["width"]), worst["entry"].item()
    narrow = size < 1
    threshold, limit, judge = (low, NARROW, fall_short) if narrow else (high, WIDE, rise_above)
    verdict = judge(size, threshold, limit)
    if verdict == "pass":
        what = f"draws are as wide as they should be; {size:.2f} times for {entry}"
    elif narrow:
        what = f"draws of {entry} are too narrow (ranks are U-shaped): {size:.2f} times the width they should have"
    else:
        what = f"draws of {entry} are too wide (ranks pile up in the middle): {size:.2f} times the right width"
    advice = "too narrow is what a mean-field guide does with a correlated posterior: use full covariance or a flow"
    return Finding(
        statistic=size,
        size=float(np.exp((-1 if narrow else 1) * np.abs(np.log(found["width"])).mean())),
        threshold=threshold,
        limit=limit,
        verdict=verdict,
        basis=by_chance(level),
        what=what,
        advice=advice if narrow else "q is wider than the posterior: train longer, look at the encoder's variance head",
    )


def _usual_widths(level: float, count: int) -> tuple[float, float]:
    """Between which the width of a right guide lies with probability 1 − ``level``."""
    variances = stats.chi2(count - 1).isf([level / 2, 1 - level / 2]) / (count - 1)
    return tuple((1 / np.sqrt(variances)).tolist())


def _usual_excursion(level: float, steps: int) -> int:
    """The largest excursion of a fair walk whose exceedance is less likely than ``level``."""
    reached = range(1, steps + 2)
    return bisect_left(reached, True, key=lambda excursion: float(largest_excursion_tail(excursion, steps)) <= level)
