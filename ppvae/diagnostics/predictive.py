"""Does the model draw images that look like the data? Predictive checks on statistics of images."""

import xarray as xr
from scipy import stats

from ppvae.diagnostics.appearance import STATISTICS, image_statistics
from ppvae.diagnostics.contents import draws_last, group_of
from ppvae.errors import UserError, check_choice

__all__ = ["EXTREME", "predictive_checks", "prior_predictive_checks"]

EXTREME = 0.025  # on either side
CHUNK = 64  # images read at a time: draws of whole images are large


def predictive_checks(tree: xr.DataTree, *, site: str | None = None) -> xr.Dataset:
    """Each image's statistics (:func:`~ppvae.diagnostics.image_statistics`) among those of the model's own draws.

    Returns, over ``statistic``:

    - ``p_value`` (statistic, image): the share of the S posterior-predictive draws of this image below it, by mid-rank,
      (#{T(x_s) < T(x)} + ½ #{equal} + ½)/(S + 1): near 0 or 1 where the draws look unlike the image. For an image that
      has been seen they lean towards ½: where model and posterior are right, P(p ≤ a) is at most 2a, not a.
    - ``extreme``: the share of images with p below 0.025 or above 0.975; at most 0.1 where all is right.
    - ``observed`` (statistic, image) and ``replicated``, the mean over the draws.

    ``site``: the one that observes the images, (image, channel, row, column); by default ``x``, or the only one.
    Reads posterior_predictive (made by ``from_pyro_svi(..., posterior_predictive=True)``) and observed_data; the range
    of the pixels is that of the data. Errors: :class:`~ppvae.errors.UserError` where a group, site or dim is missing.
    Sources: Gelman, Meng and Stern 1996; Meng 1994, "Posterior predictive p-values", Theorem 1 (the factor 2).
    """
    remedy = "make it with from_pyro_svi(..., posterior_predictive=True)"
    predicted, data = group_of(tree, "posterior_predictive", remedy), group_of(tree, "observed_data")
    site = _chosen(site, predicted, data)
    observed = data[site]
    limits = (float(observed.min()), float(observed.max()))
    parts = [
        _ranks(predicted[site].isel(image=some), observed.isel(image=some), limits)
        for some in (slice(start, start + CHUNK) for start in range(0, observed.sizes["image"], CHUNK))
    ]
    found = xr.concat(parts, "image")
    found["extreme"] = ((found["p_value"] <= EXTREME) | (found["p_value"] >= 1 - EXTREME)).mean("image")
    return _labelled(found, draws_last(predicted[site]).sizes["draws"])


def prior_predictive_checks(tree: xr.DataTree, *, site: str | None = None) -> xr.Dataset:
    """The statistics of the data, as a set, beside those of images drawn from the model alone.

    Returns over ``statistic``: ``distance``, the largest between its distribution functions in the data and in the
    draws, and ``p_value`` by Kolmogorov and Smirnov's test of two samples. Reads prior_predictive (made by
    :func:`~ppvae.examine`) and observed_data; ``site`` and the range of the pixels as in :func:`predictive_checks`.
    Errors: :class:`~ppvae.errors.UserError` where a group, site or dim is missing.
    """
    prior, data = group_of(tree, "prior_predictive", "make it with ppvae.examine"), group_of(tree, "observed_data")
    site = _chosen(site, prior, data)
    if "image" in prior[site].dims:
        raise UserError(f"prior_predictive redraws {site!r} for every image at once; make it with ppvae.examine")
    observed = data[site].load()
    limits = (float(observed.min()), float(observed.max()))
    truth, drawn = (
        image_statistics(observed, limits),
        draws_last(_stacked(image_statistics(prior[site].load(), limits))),
    )
    tests = [stats.ks_2samp(truth[name], drawn.sel(statistic=name), method="asymp") for name in STATISTICS]
    found = xr.Dataset(
        {
            "distance": ("statistic", [float(test.statistic) for test in tests]),
            "p_value": ("statistic", [float(test.pvalue) for test in tests]),
        },
        coords={"statistic": list(STATISTICS)},
    )
    labelled = _labelled(found, drawn.sizes["draws"])
    labelled["p_value"].attrs["long_name"] = "p-value of the distance"
    return labelled


def _chosen(site: str | None, drawn: xr.Dataset, data: xr.Dataset) -> str:
    """The site, if observed image by image, or by default ``x``, or the only one that is drawn and observed."""
    names = [name for name in map(str, drawn) if name in data]
    if site is None:
        site = names[0] if len(names) == 1 else "x" if "x" in names else None
    check_choice("site", site, names)
    if "image" not in data[site].dims:
        raise UserError(
            f"{site!r} has dims {data[site].dims}, expected image among them; give from_pyro_svi the images"
        )
    return site


def _labelled(found: xr.Dataset, draws: int) -> xr.Dataset:
    for name in found.data_vars:
        units = "pixel units" if name in ("observed", "replicated") else "1"
        found[name].attrs = {"long_name": LONG_NAMES[name], "units": units}
    return found.assign_attrs(num_samples=draws)


LONG_NAMES = {
    "p_value": "share of posterior-predictive draws below the image",
    "extreme": "share of images with a p-value below 0.025 or above 0.975",
    "observed": "statistic of the image",
    "replicated": "mean statistic of its posterior-predictive draws",
    "distance": "distance of the data's distribution from the prior predictive's",
}


def _ranks(predicted: xr.DataArray, observed: xr.DataArray, limits: tuple[float, float]) -> xr.Dataset:
    """Ranks, statistics and their means over the draws of a few images."""
    truth = _stacked(image_statistics(observed.load(), limits))
    gaps = observed.isnull()
    drawn = predicted.load().where(~gaps) if gaps.any() else predicted.load()
    replicated = draws_last(_stacked(image_statistics(drawn, limits)))
    rank = (replicated < truth).sum("draws") + 0.5 * (replicated == truth).sum("draws") + 0.5
    p_value = rank / (replicated.sizes["draws"] + 1)
    columns = {"p_value": p_value, "observed": truth, "replicated": replicated.mean("draws")}
    return xr.Dataset({name: column.transpose("statistic", "image") for name, column in columns.items()})


def _stacked(statistics: xr.Dataset) -> xr.DataArray:
    return statistics.to_dataarray("statistic", name="statistics").drop_attrs()
