"""Which latents carry information, by each of the rules in use, read from a posterior DataTree."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from ppvae.diagnostics.contents import chosen_code, event_dims_of, group_of, kl_of
from ppvae.errors import UserError

__all__ = ["count_informative", "informative_latents"]


def informative_latents(
    tree: xr.DataTree,
    ablation: xr.Dataset | None = None,
    *,
    relevance: xr.Dataset | None = None,
    site: str | None = None,
    prior_variance: float | Sequence[float] | None = None,
    max_probability: float = 0.5,
    max_variance_ratio: float = 0.8,
    min_kl: float = 0.1,
    min_relative: float = 0.01,
    min_activity: float = 0.01,
    min_share: float = 0.99,
) -> xr.Dataset:
    """Rule for rule, which latents are informative, and the numbers behind each rule; all over dim latent.

    Rules (boolean):

    - ``by_probability``: mean of p, the probability of being uninformative, below ``max_probability``; only where
      sample_stats holds p. The NGVAE paper's own rule. Its relaxed posterior meets the prior at p ≈ 0.31, so a
      collapsed latent may pass for informative here: read it with the next two.
    - ``by_variance``: mean variance of q(z|x) (for NGVAE E[1/λ]) below ``max_variance_ratio`` times the prior's. The
      paper says "close to one", for a unit prior; relative, as a collapsed Normal-Gamma latent sits at the prior's own
      0.5. Left out where the prior's variance is infinite.
    - ``by_kl``: mean KL(q(z|x) ‖ p(z)) above ``min_kl`` nats; left out where the pair has one KL as a whole. The
      Normal-Gamma path, whose kl is that of precision and z together, never comes below 0.0134 nats; and at p = 1,
      called uninformative, it costs 3.6 nats and passes here.
    - ``by_ablation``: squared error of the reconstruction grows by more than ``min_relative`` when the latent is
      replaced by its mean; only with ``ablation``.
    - ``by_relevance``: among the fewest latents that make up ``min_share`` of the sum of all relevances, the decoder's
      squared Jacobian × prior variance; only with ``relevance``, what :func:`~ppvae.interventions.relevance` returns.
    - ``active_units``: variance of the posterior means over the images above ``min_activity`` (absolute, as published).

    Numbers: ``probability``, ``variance``, ``variance_ratio``, ``kl`` (nats), ``worsening`` (nats per image),
    ``relative``, ``relevance`` (squared pixel values), ``activity``, and ``signal_to_noise``, activity over mean
    variance.

    Reads kl (or kl_<site> of several), <site>_mean, <site>_variance and p, (image, latent), of sample_stats, whatever
    the second dim is called; of a site of feature maps, (image, map, row, column), each map is a latent: KLs are summed
    over its entries, variances and activities averaged. ``site``: by default the only code. The prior's variance, one
    number or one for each latent, is the attribute of <site>_variance unless given.
    Errors: :class:`~ppvae.errors.UserError` where one is missing or NaN, and for fewer than two images.
    Sources: Jouffroy et al., NGVAE, Section IV; Burda et al., IWAE, ICLR 2016 (active units); Saha
    et al., ARD-VAE, WACV 2025 (relevance).
    """
    site = chosen_code(tree, site)
    stats = _sample_stats(tree, site)
    prior = _prior_variance(stats, prior_variance)  # (latent,)
    maps, own = _entries(stats["mean"]), event_dims_of(tree, site)[:1]
    variance = stats["variance"].mean(["image", *maps])
    activity = stats["mean"].var("image", ddof=1).mean(maps)
    columns = [
        _number("variance", variance, "mean variance of q(z|x)", "latent squared"),
        _number("activity", activity, "variance of the posterior means over the images", "latent squared"),
        _number("signal_to_noise", _quotient(activity, variance), "activity over the mean variance", "1"),
        _rule("active_units", activity > min_activity, f"activity > {min_activity:g}"),
    ]
    if np.isfinite(prior).all():
        ratio = variance / prior
        columns += [
            _number("variance_ratio", ratio, "mean variance of q(z|x) over the prior's", "1"),
            _rule("by_variance", ratio < max_variance_ratio, f"variance_ratio < {max_variance_ratio:g}"),
        ]
    kl = kl_of(tree, site)
    if kl is not None:
        _check_numbers(kl.rename("kl"), np.flatnonzero(kl.isnull()))
        columns += [
            _number("kl", kl, "mean KL of q(z|x) from the prior", "nats"),
            _rule("by_kl", kl > min_kl, f"kl > {min_kl:g} nats"),
        ]
    if "p" in stats:
        probability = stats["p"].mean("image")
        columns += [
            _number("probability", probability, "mean probability of being uninformative", "1"),
            _rule("by_probability", probability < max_probability, f"probability < {max_probability:g}"),
        ]
    if relevance is not None:
        worth = _matched("relevance", relevance, ("relevance",), variance, own)["relevance"]
        columns += [
            _number("relevance", worth, "squared Jacobian of the decoder × prior variance", "squared pixel values"),
            _rule("by_relevance", _fewest(worth, min_share), f"of the fewest with {100 * min_share:g} % of relevance"),
        ]
    if ablation is not None:
        found = _matched("ablation", ablation, ("worsening", "relative"), variance, own)
        columns += [
            _number("worsening", found["worsening"], "increase of -log p(x|z) under ablation", "nats per image"),
        ]
        if "relative" in found:
            relative, long_name = found["relative"], "relative increase of the squared error under ablation"
            columns += [
                _number("relative", relative, long_name, "1"),
                _rule("by_ablation", relative > min_relative, f"relative > {min_relative:g}"),
            ]
    return xr.Dataset(
        {column.name: column for column in columns}, attrs={"prior_variance": _plain(prior), "site": site}
    )


def count_informative(latents: xr.Dataset) -> xr.Dataset:
    """How many latents each rule calls informative: the boolean variables of ``informative_latents``, summed.

    Returns integer scalars under the rules' names.
    Errors: :class:`~ppvae.errors.UserError` for a Dataset without a rule over dim latent.
    """
    rules = {name: rule for name, rule in latents.data_vars.items() if rule.dtype == bool and "latent" in rule.dims}
    if not rules:
        raise UserError(f"latents holds {sorted(map(str, latents))}, no rule; give what informative_latents returned")
    counts = {name: rule.sum("latent").assign_attrs(rule.attrs | {"units": "latents"}) for name, rule in rules.items()}
    return xr.Dataset(counts, attrs={"latents": latents.sizes["latent"]})


def _number(name: str, values: xr.DataArray, long_name: str, units: str) -> xr.DataArray:
    labelled = values.rename(name)
    labelled.attrs = {"long_name": long_name, "units": units}
    return labelled


def _rule(name: str, values: xr.DataArray, rule: str) -> xr.DataArray:
    labelled = values.rename(name)
    labelled.attrs = {"long_name": f"informative {name.replace('_', ' ')}", "units": "boolean", "rule": rule}
    return labelled


def _quotient(signal: xr.DataArray, noise: xr.DataArray) -> xr.DataArray:
    """signal / noise; infinite for a code without noise, 0 for one that is constant besides."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (signal / noise).where(signal > 0, 0.0)


def _sample_stats(tree: xr.DataTree, site: str) -> xr.Dataset:
    """The site's ``mean`` and ``variance``, and ``p`` where it is by latent: (image, latent), of feature maps followed
    by their own dims."""
    stats, own = group_of(tree, "sample_stats"), event_dims_of(tree, site)
    names = {f"{site}_mean": "mean", f"{site}_variance": "variance"}
    if "p" in stats and set(stats["p"].dims) == {"image", *own[:1]}:
        names["p"] = "p"
    for name in names:
        _check_statistic(stats[name], own if name != "p" else own[:1])
    if stats.sizes["image"] < 2:
        raise UserError("sample_stats came with fewer than two images; the variance over images needs more: give more")
    found = stats[list(names)].rename(names)
    found = found.rename({own[0]: "latent"}) if own and own[0] != "latent" else found
    return (found if own else found.expand_dims("latent")).astype(np.float64)  # a float32 mean loses digits


def _check_statistic(array: xr.DataArray, own: tuple[str, ...]) -> None:
    if set(array.dims) != {"image", *own}:
        expected = f"({', '.join(('image', *own))})"
        raise UserError(f"{array.name!r} has dims {array.dims}, expected {expected}; average any other dim first")
    _check_numbers(array, np.flatnonzero(array.isnull().any([dim for dim in array.dims if dim not in own[:1]])))


def _check_numbers(array: xr.DataArray, wrong: np.ndarray) -> None:
    if len(wrong):
        raise UserError(
            f"{array.name!r} is NaN for latents {wrong.tolist()}, expected numbers: look for a diverged run"
        )


def _entries(array: xr.DataArray) -> list[Hashable]:
    """The dims of a feature map, over which each latent's numbers are averaged."""
    return [dim for dim in array.dims if dim not in ("image", "latent")]


def _prior_variance(stats: xr.Dataset, given: float | Sequence[float] | None) -> xr.DataArray:
    """Of each latent, in the tree's order."""
    found = stats["variance"].attrs.get("prior_variance") if given is None else given
    values = np.array([np.nan]) if found is None else np.atleast_1d(np.asarray(found, dtype=float))
    latents = stats.sizes["latent"]
    if values.shape not in ((1,), (latents,)) or not (values > 0).all():
        raise UserError(
            f"prior_variance came as {found}, expected a positive number, or one for each of {latents} latents: "
            "give informative_latents(prior_variance=)"
        )
    return xr.DataArray(np.broadcast_to(values, latents), dims="latent")


def _plain(values: xr.DataArray) -> float | list[float]:
    """One number where all are the same."""
    return values.values.tolist() if (values != values[0]).any() else float(values[0])


def _matched(
    name: str, given: xr.Dataset, wanted: tuple[str, ...], reference: xr.DataArray, dims: tuple[str, ...]
) -> xr.Dataset:
    """The columns of an intervention on each latent in the order of the tree's latents."""
    found = given[[column for column in wanted if column in given]]
    for dim in dims:
        found = found.rename({dim: "latent"}) if dim != "latent" and dim in found.dims else found
    found = found if "latent" in found.dims else found.expand_dims("latent")
    if wanted[0] not in given or found.sizes.get("latent") != reference.sizes["latent"]:
        raise UserError(
            f"{name} holds {sorted(map(str, given))} with sizes {dict(given.sizes)}, expected {' and '.join(wanted)} "
            f"of {reference.sizes['latent']} latents: give that of the model that made this tree"
        )
    matched = found.reindex_like(reference)
    if bool(matched.to_array().isnull().any()):
        raise UserError(
            f"{name} is NaN or lacks latents of the tree, expected a number each: give that of this tree's model"
        )
    return matched


def _fewest(worth: xr.DataArray, share: float) -> xr.DataArray:
    """The latents of the smallest set whose worth is this share of the sum; none where all are worth nothing."""
    if not 0 < share < 1:
        raise UserError(f"min_share={share!r}: expected a number between 0 and 1")
    order = worth.argsort().values[::-1]
    before = worth.values[order].cumsum() - worth.values[order]
    kept = np.zeros(worth.size, dtype=bool)
    kept[order] = before < share * worth.values.sum()
    return worth.copy(data=kept)
