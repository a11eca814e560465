"""The missing entries of a table's rows, from the posterior given the observed ones."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Literal, get_args

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import validation_enabled
from torch.distributions import Distribution

from ppvae.checks import check_data, check_sites
from ppvae.datasets import ImageDataset, Rows, in_units
from ppvae.distributions.means import mean_of
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.pair.sites import latent_sites, observed_sites
from ppvae.pair.terms import pair_traces, sampled_rate, terms_of
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior.handlers import Given, traced

__all__ = ["Weights", "impute"]

Weights = Literal["importance", "guide"]

FEW = 8  # rows of the run that checks the pair


def impute(
    model: Callable,
    guide: Callable,
    data: ImageDataset,
    draws: int = 256,
    *,
    interval: float = 0.9,
    weights: Weights = "importance",
    batch_size: int = 4096,
    seed: int = 0,
) -> xr.Dataset:
    """What the missing entries of a table are, with intervals, from p(x_missing | x_observed).

    z comes from the guide, which sees what is observed, ``draws`` times a row. ``importance`` weighs each by
    p(x_observed, z) / q(z | x_observed), normalised, which is exact as draws grow, whatever the guide; ``guide`` takes
    q for the posterior. The mean is that of the means of p(x | z); the bounds are quantiles of as many draws of x, each
    of a z resampled by its weight, so that they hold the noise of an entry as well.

    Returns over (image, column), in the columns' own units and under their names: ``completed``, the table with the
    mean where an entry was missing; ``mean``, ``lower`` and ``upper`` of every entry as drawn anew given the row, the
    observed ones too; ``missing``. ``effective`` (image), (Σw)²/Σw²: where it is near one, all rests on one z and the
    interval is too narrow. An interval of probability ``interval`` has equal tails; its bounds are draws, so that it
    takes more than 2 / (1 − ``interval``) of them.
    ``batch_size``: rows × draws decoded at a time. Modules, random state and parameter store stay as they were; one
    seed (and batch size) gives one result.

    Errors: :class:`~ppvae.errors.UserError` for data that are no table, a pair that does not take them, or arguments
    out of range.
    Sources: Mattei and Frellsen 2019 (MIWAE), Sec. 4; Rubin 1988 (sampling importance resampling); Kitagawa 1996, App.
    (systematic resampling).
    """
    if not isinstance(data, ImageDataset) or not isinstance(data.images, Rows):
        raise UserError("impute takes the rows of a table; make them with ppvae.datasets.rows or table")
    check_whole("draws", draws, 1)
    check_whole("batch_size", batch_size, 1)
    check_choice("weights", weights, get_args(Weights))
    if isinstance(interval, bool) or not isinstance(interval, Real) or not 0 < interval < 1:
        raise UserError(f"interval={interval!r}: expected a probability between 0 and 1, such as 0.9")
    inputs, device = check_data(data, model, guide, seed=seed), device_of(model, guide)
    tails = (1 - interval) / 2, (1 + interval) / 2
    parts = []
    with evaluating(model, guide, device=device, seed=seed), validation_enabled(False):
        check_sites(model, guide, tuple(values[:FEW].to(device) for values in inputs))
        for chunk in zip(*(values.split(max(1, batch_size // draws)) for values in inputs), strict=True):
            chunk = tuple(values.to(device) for values in chunk)
            parts.append(_summary(model, guide, chunk, draws, weights, tails))
    found = [torch.cat([part[name] for part in parts]).cpu().numpy() for name in range(4)]
    return _labelled(data, found, draws=draws, interval=interval, weights=weights, seed=seed)


def _summary(
    model: Callable, guide: Callable, chunk: tuple[torch.Tensor, ...], draws: int, weights: Weights, tails: tuple
) -> tuple[torch.Tensor, ...]:
    """Mean, lower and upper bound of each entry, (image, C, H, W), and the effective draws (image,)."""
    with pyro.plate("draws", draws, dim=-2):
        guide_trace, model_trace = pair_traces(model, guide, chunk)
        (observed,) = observed_sites(model_trace)
        terms = terms_of(guide_trace, model_trace, sampled_rate)
        log_weights = -(terms.distortion + terms.rate).double()
        share = (log_weights if weights == "importance" else torch.zeros_like(log_weights)).softmax(0)
        drawn = observed["fn"].sample()
        mean = (share[..., None, None, None] * _means(observed["fn"], drawn)).sum(0)
        if weights == "importance":
            codes = _resampled({s["name"]: s["value"] for s in latent_sites(guide_trace)}, share)
            drawn = traced(model, chunk, {}, Given(codes)).nodes[observed["name"]]["fn"].sample()
    return mean, *_quantiles(drawn, tails), 1 / share.square().sum(0)


def _means(distribution: Distribution, drawn: torch.Tensor) -> torch.Tensor:
    mean = mean_of(distribution)
    return drawn if mean is None else mean


def _resampled(codes: dict[str, torch.Tensor], share: torch.Tensor) -> dict[str, torch.Tensor]:
    """Codes (draw, image, ...) by their shares (draw, image), each as often as its share says, but for rounding.

    One offset a row, systematically: equal shares keep all codes. What all rows share stays.
    """
    draws, images = share.shape
    steps = torch.arange(draws, device=share.device)[:, None] + torch.rand(1, images, device=share.device)
    chosen = torch.searchsorted(share.cumsum(0).T.contiguous(), (steps / draws).to(share.dtype).T.contiguous()).T
    chosen, each = chosen.clamp(max=draws - 1), torch.arange(images, device=share.device)
    local = {name for name, value in codes.items() if value.shape[:2] == share.shape}
    return {name: value[chosen, each] if name in local else value for name, value in codes.items()}


def _quantiles(drawn: torch.Tensor, tails: tuple[float, float]) -> tuple[torch.Tensor, ...]:
    """Of draws (draw, ...): the least of them that has a share ``tail`` of all at or below it."""
    ordered = drawn.sort(0).values
    return tuple(ordered[max(0, math.ceil(tail * len(drawn)) - 1)] for tail in tails)


def _labelled(data: ImageDataset, found: list[np.ndarray], **attributes: object) -> xr.Dataset:
    table = data.to_xarray()["rows"]
    like = table.assign_coords(data.images.scaling.coords())
    dims = ("image", "channel", "row", "column")
    mean, lower, upper = (in_units(xr.DataArray(array, dims=dims), like) for array in found[:3])
    variables = {"completed": table.fillna(mean), "mean": mean, "lower": lower, "upper": upper}
    variables["missing"] = table.isnull()
    effective = ("image", found[3], {"long_name": "effective draws of each row", "units": "draws"})
    labels = {"image": table["image"], "effective": effective}
    return xr.Dataset({k: v.rename(None).drop_attrs() for k, v in variables.items()}, labels, attributes)
