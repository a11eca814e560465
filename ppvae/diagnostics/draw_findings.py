"""What draws of latents and of images say beside the prior and the data."""

import numpy as np
import xarray as xr
from scipy import stats

from ppvae.diagnostics.appearance import phrase
from ppvae.diagnostics.contents import codes_of, draws_last, entry_name, group_of, rate_of
from ppvae.diagnostics.findings import (
    CONVENTION,
    Finding,
    by_chance,
    fall_short,
    rise_above,
    two_sample_distance,
)
from ppvae.diagnostics.latents import informative_latents
from ppvae.diagnostics.predictive import EXTREME, predictive_checks, prior_predictive_checks
from ppvae.errors import UserError
from ppvae.nouns import Noun

__all__ = ["active_latents", "aggregate", "posterior_predictive", "prior_predictive"]

LEAST_IMAGES = 20
LEAST_RATE, LEAST_KL = 1.0, 0.1  # nats: of all codes together, and of each latent of a small code
ONE_SIDED = 0.75  # share of the extreme images above which their side is the fault's


def active_latents(tree: xr.DataTree, level: float, noun: Noun) -> Finding:
    """How many latents' codes vary over the images and cost nats; none, or a rate below a nat, is a collapse.

    Codes that vary alone say nothing: a strong decoder leaves means that move by a tenth beside deviations of one. The
    least rate is 0.1 nats a latent, as ``by_kl`` has it, and at most one nat: no two images are told apart for less.
    """
    del level
    sites = codes_of(tree)
    found = {site: _informed(informative_latents(tree, site=site)) for site in sites}
    active, latents = sum(int(rule.sum()) for rule in found.values()), sum(rule.size for rule in found.values())
    names = [
        str(latent) if len(found) == 1 else f"{site}[{latent}]"
        for site, rule in found.items()
        for latent in rule["latent"].values[~rule.values]
    ]
    rate = sum(rate_of(tree, site) for site in sites)
    collapsed = active == 0 or rate < min(LEAST_RATE, LEAST_KL * latents)
    idle = f"; collapsed: {_listed(names)}" if names else ""
    return Finding(
        statistic=0 if collapsed else active,
        threshold=1,
        limit=1,
        verdict=fall_short(0 if collapsed else active, 1, 1),
        basis=CONVENTION,
        what=f"{active} of {latents} latents are active at a rate of {rate:.2f} nats"
        + (": the posterior has collapsed" if collapsed else idle),
        advice=f"the codes say nothing about the {noun.many}: anneal β, use free bits, or a weaker decoder",
    )


def _informed(rules: xr.Dataset) -> xr.DataArray:
    """Latents that are active units, and whose KL is above its own threshold where each has one."""
    active = rules["active_units"]
    return active & rules["by_kl"] if "by_kl" in rules else active


def aggregate(tree: xr.DataTree, level: float, noun: Noun) -> Finding:
    """The largest distance between any latent's codes over the images, one draw an image, and the prior's draws.

    One draw an image is an independent draw of the aggregated posterior where the images are independent."""
    posterior, prior = group_of(tree, "posterior"), group_of(tree, "prior")
    names, distances, counts = [], [], []
    for site in (name for name in posterior if name in prior and _by_image(posterior[name], prior[name])):
        one = draws_last(posterior[site]).isel(draws=0).transpose("image", ...)
        many = draws_last(prior[site]).transpose("draws", ...)
        if one.sizes["image"] < LEAST_IMAGES:
            count = one.sizes["image"]
            raise UserError(f"the tree has {count} {noun.many}; expected at least {LEAST_IMAGES}: give more")
        found = stats.ks_2samp(one.values, many.values, axis=0, method="asymp").statistic
        names += [entry_name(one.isel(image=0, drop=True), place) for place in np.ndindex(one.shape[1:])]
        distances.append(np.ravel(found))
        counts.append((len(one), len(many)))
    if not names:
        raise UserError(f"posterior and prior share no site with a draw {noun.a}; give from_pyro_svi the {noun.many}")
    distance = np.concatenate(distances)
    size, threshold = float(distance.max()), two_sample_distance(level / len(names), *counts[0])
    return Finding(
        statistic=size,
        size=float(distance.mean()),
        threshold=threshold,
        limit=0.1,
        verdict=rise_above(size, threshold, 0.1),
        basis=by_chance(level),
        what=f"codes of {names[int(distance.argmax())]} are {size:.2f} off the prior, the most of {len(names)} entries"
        + _in_nats(tree, noun),
        advice="draws from the prior miss the codes or fill holes between them: use a richer prior (mixture, "
        "autoregressive flow, VampPrior), or more weight on the rate",
    )


def _by_image(posterior: xr.DataArray, prior: xr.DataArray) -> bool:
    """Whether the posterior's draws are of images, and the prior's of any one image."""
    return "image" in posterior.dims and "image" not in prior.dims


def _in_nats(tree: xr.DataTree, noun: Noun) -> str:
    """The parts of the average KL, where the tree holds them."""
    if "aggregate" not in tree.children:
        return ""
    found = tree["aggregate"].to_dataset()
    marginal, error, information = (
        float(found[name]) for name in ("marginal_kl", "marginal_kl_error", "mutual_information")
    )
    if not (np.isfinite(marginal) and np.isfinite(information)):
        return ""
    cap = found.attrs["cap"]
    near = f", near its cap: too few {noun.many}" if information > cap - 1 else ""
    return (
        f"; KL(q(z)‖p(z)) {marginal:.2f} ± {error:.2f} nats, mutual information {information:.2f} "
        f"(at most log N = {cap:.2f}){near}"
    )


def posterior_predictive(tree: xr.DataTree, level: float, noun: Noun) -> Finding:
    """The share of images with an extreme p-value, of the statistic where it is largest.

    The threshold is the binomial's at a share of 0.1, the most that a right model and posterior can give."""
    found = predictive_checks(tree)
    draws, count = found.attrs["num_samples"], found.sizes["image"]
    if draws < LEAST_IMAGES:
        raise UserError(f"posterior_predictive has {draws} draws; expected at least {LEAST_IMAGES}: raise num_samples")
    worst = found.isel(statistic=int(found["extreme"].argmax("statistic")))
    share = float(worst["extreme"])
    threshold = float(stats.binom.isf(level / found.sizes["statistic"], count, 0.1)) / count
    said = phrase(worst["statistic"].item(), noun)
    return Finding(
        statistic=share,
        size=100 * float(found["extreme"].mean()),
        threshold=threshold,
        limit=0.25,
        verdict=rise_above(share, threshold, 0.25),
        basis=by_chance(level),
        what=f"{said} is extreme among {noun.a}'s own redrawn {noun.many} for {share:.0%} of the {noun.many}"
        + (_side(worst["p_value"].values, noun) if share > threshold else ""),
        advice=f"the likelihood does not draw {said} as it is: choose another likelihood or scale, or a larger decoder",
    )


def _side(p_values: np.ndarray, noun: Noun) -> str:
    """Where the redrawn images lie, of those images that are extreme among them."""
    low, high = int((p_values >= 1 - EXTREME).sum()), int((p_values <= EXTREME).sum())
    if max(low, high) < ONE_SIDED * (low + high):
        return f"; redrawn {noun.many} miss it on both sides, too low for {low} {noun.many} and too high for {high}"
    return f"; redrawn {noun.many} have it too {'low' if low > high else 'high'}"


def prior_predictive(tree: xr.DataTree, level: float, noun: Noun) -> Finding:
    """The largest distance between a statistic's distributions in the data and in images drawn from the model alone."""
    found = prior_predictive_checks(tree)
    worst = found.isel(statistic=int(found["distance"].argmax("statistic")))
    size, said = float(worst["distance"]), phrase(worst["statistic"].item(), noun)
    counts = group_of(tree, "observed_data").sizes["image"], found.attrs["num_samples"]
    threshold = two_sample_distance(level / found.sizes["statistic"], *counts)
    return Finding(
        statistic=size,
        size=float(found["distance"].mean()),
        threshold=threshold,
        limit=0.3,
        verdict=rise_above(size, threshold, 0.3),
        basis=by_chance(level),
        what=f"{said} of {noun.many} drawn from the model is {size:.2f} off the data's distribution",
        advice="draws of the model do not look like the data: see aggregate for the prior, posterior predictive for "
        "the likelihood",
    )


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
