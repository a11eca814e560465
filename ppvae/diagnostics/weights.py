"""How good a proposal the guide is, image by image or as a whole: k̂, effective draws, and the bound on log p(x)."""

import math

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from ppvae.diagnostics.contents import draws_last, group_of, variables_of
from ppvae.diagnostics.pareto import good_pareto_k, pareto_smooth

__all__ = ["importance", "rounding", "weight_summary"]

LONG_NAMES = {
    "elbo": "mean log ratio, the ELBO",
    "elpd": "importance-weighted bound on log p(x)",
    "elpd_smoothed": "estimate of log p(x) by Pareto-smoothed weights",
    "effective_samples": "effective draws, (Σw)²/Σw²",
    "pareto_k": "shape of the ratios' tail",
}


def importance(tree: xr.DataTree) -> xr.Dataset:
    """What the ratios r = log p(x, z) − log q(z | x) of each image's draws say about q, image by image.

    Returns over ``image``: ``elbo``, the mean of r; ``elpd`` = log (1/S) Σ exp r, a lower bound of log p(x) in
    expectation; ``elpd_smoothed``, the same of Pareto-smoothed ratios: less noise, but no bound; ``effective_samples``,
    (Σw)²/Σw², in draws; and ``pareto_k``, good below its attribute ``good`` = min(1 − 1/log₁₀ S, 0.7), −inf where q is
    exact (see :func:`~ppvae.diagnostics.pareto_smooth`). The draws of several images are never pooled: a batch has one
    product of ratios, whose k̂ says nothing about any image. Nats per image; log p(x) and its surrogates as the tree's.

    Scalars, in nats of all data, where ``log_p`` has no dims but those of the draws, as in the tree of a general pair,
    ``from_pyro_svi(model, guide, model_args=...)``: there the guide is one proposal for all latents together, and its
    one k̂ is Yao et al.'s.

    Reads ``log_p`` and ``log_q`` of sample_stats. Errors: :class:`~ppvae.errors.UserError` where one is missing.
    Sources: Yao et al. 2018, "Yes, but did it work?", Sec. 2; Vehtari et al. 2024; Burda et al. 2016.
    """
    stats = variables_of(group_of(tree, "sample_stats"), ("log_p", "log_q"), "sample_stats")
    log_p, log_q = xr.align(*(draws_last(stats[name]) for name in ("log_p", "log_q")), join="exact")
    size = (np.abs(log_p) + np.abs(log_q)).max("draws")
    ratios = log_p.astype(float) - log_q
    summary = weight_summary(ratios.transpose(..., "draws").values, rounding(size.values, log_p.dtype))
    units = stats["log_p"].attrs.get("units", "nats")
    kinds = {"pareto_k": "1", "effective_samples": "draws"}
    draws = log_p.sizes["draws"]
    dataset = xr.Dataset(
        {
            name: (size.dims, values, {"long_name": LONG_NAMES[name], "units": kinds.get(name, units)})
            for name, values in summary.items()
        },
        coords=size.coords,
        attrs={"num_samples": draws},
    )
    dataset["pareto_k"].attrs["good"] = good_pareto_k(max(draws, 2))
    return dataset


def rounding(size: np.ndarray | float, dtype: np.dtype) -> np.ndarray | float:
    """Nats by which two ratios of terms of this size may differ by rounding alone: eight units in the last place."""
    return 8 * np.finfo(dtype).eps * size


def weight_summary(log_ratios: np.ndarray, resolution: float | np.ndarray = 0.0) -> dict[str, np.ndarray]:
    """The variables of :func:`importance` from log ratios (..., draw), each (...); ``resolution``, nats."""
    ratios = np.asarray(log_ratios, dtype=np.float64)
    smoothed, shape = pareto_smooth(ratios, resolution=resolution)
    first, draws = logsumexp(ratios, axis=-1), math.log(ratios.shape[-1])
    with np.errstate(invalid="ignore"):  # all weights zero: NaN effective draws
        effective = np.exp(2 * first - logsumexp(2 * ratios, axis=-1))
    return {
        "elbo": ratios.mean(-1),
        "elpd": first - draws,
        "elpd_smoothed": logsumexp(smoothed, axis=-1) - draws,
        "effective_samples": effective,
        "pareto_k": shape,
    }
