"""Which of several models explains held-out images better: ArviZ's comparison, on importance-weighted log p(x)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.utils import ELPDData

from ppvae.errors import UserError, check_choice

__all__ = ["ELPDDataImportance", "compare", "to_elpd"]

Method = Literal["stacking", "bb-pseudo-bma", "pseudo-bma"]
METHODS = ("stacking", "bb-pseudo-bma", "pseudo-bma")


@final
@dataclass(kw_only=True, repr=False)
class ELPDDataImportance(ELPDData):
    """Log predictive density of held-out images by importance sampling from the guide, as an ArviZ ELPD object.

    ``elpd``: Σ log p(x) over the images, nats; ``elpd_i``: log p(x) (image); ``pareto_k`` (image): above ``good_k`` the
    number of that image is too low by an unknown amount. ``p`` is NaN: the images are held out, no fit is discounted.
    ``data``: what the images are, binarisation included; ``pixels``: a hash of the images themselves;
    ``measure``: whether p(x) is a ``density`` of real pixels or a ``probability`` of their levels.
    """

    _kind: ClassVar[str] = "importance"
    data: str = "images"
    pixels: str = ""
    measure: str = ""


def to_elpd(found: xr.Dataset) -> ELPDDataImportance:
    """The ELPD object of what :func:`~ppvae.log_marginal` returned.

    Errors: :class:`~ppvae.errors.UserError` for another Dataset, a surrogate likelihood, or a log p(x) that is not
    finite.
    """
    missing = {"log_marginal", "pareto_k"} - set(found)
    if missing:
        raise UserError(f"found lacks {', '.join(sorted(missing))}; give what ppvae.log_marginal returned")
    if found["log_marginal"].attrs.get("units") != "nats":
        raise UserError(
            f"log_marginal is in {found['log_marginal'].attrs.get('units')}, expected nats: a surrogate likelihood "
            "is no density of the images and compares with none; binarise the data or take likelihood=logistic"
        )
    values = found["log_marginal"].values
    if not np.isfinite(values).all():
        raise UserError(
            f"log_marginal of {int((~np.isfinite(values)).sum())} images is not finite, expected numbers: "
            "look for a diverged run"
        )
    n, good_k = len(values), float(found["pareto_k"].attrs["good"])
    return ELPDDataImportance(
        elpd=float(values.sum()),
        se=float(np.sqrt(n * values.var(ddof=1))) if n > 1 else float("nan"),
        p=float("nan"),
        n_samples=int(found.attrs["num_samples"]),
        n_data_points=n,
        scale="log",
        warning=bool((found["pareto_k"] > good_k).any()),
        good_k=good_k,
        elpd_i=found["log_marginal"],
        pareto_k=found["pareto_k"],
        data=found.attrs.get("data", "images"),
        pixels=found.attrs["pixels"],
        measure=found.attrs["measure"],
    )


def compare(
    models: Mapping[str, xr.Dataset | ELPDDataImportance],
    *,
    method: Method = "stacking",
    reference: str | None = None,
    round_to: int | None = None,
) -> pd.DataFrame:
    """``az.compare`` of models on the same held-out images; best first, for ``az.plot_compare`` too.

    ``models``: by name, what ``log_marginal`` returned. Columns as ArviZ's: elpd, se (nats, summed over the images),
    elpd_diff to the best (or to ``reference``) and its standard error dse, taken over the images' differences and so
    far smaller than se where models agree which images are hard; the stacking weight; ``diag_elpd``, how many k̂ are
    too large; p is NaN. ``round_to``: decimals. dse knows the images, not the training: other
    seeds vary more than it says.

    ArviZ exponentiates each image's density, which images of thousands of nats underflow; here the best model's is
    taken off first, which changes neither differences nor weights.

    Errors: :class:`~ppvae.errors.UserError` for fewer than two models, an unknown method or reference, other images,
    or the same images binarised otherwise, and for a density beside a probability: they do not compare.
    """
    check_choice("method", method, METHODS)
    if len(models) < 2:
        raise UserError(f"models holds {len(models)} of them; give two or more to compare")
    if reference is not None and reference not in models:
        raise UserError(f"reference={reference!r} is none of the models {', '.join(models)}")
    found = {name: one if isinstance(one, ELPDDataImportance) else to_elpd(one) for name, one in models.items()}
    _check_same_images(found)
    table = _compared(found, method, reference)
    for name, one in found.items():
        table.loc[name, ["elpd", "se"]] = one.elpd, one.se
    return table if round_to is None else table.round(round_to)


def _compared(found: Mapping[str, ELPDDataImportance], method: str, reference: str | None) -> pd.DataFrame:
    best = np.max([one.elpd_i.values for one in found.values()], axis=0)
    shifted = {}
    for name, one in found.items():
        values = one.elpd_i - best
        shifted[name] = replace(one, elpd=float(values.sum()), elpd_i=values)
    return arviz_stats.compare(shifted, method=method, reference=reference, round_to="none")


def _check_same_images(found: Mapping[str, ELPDDataImportance]) -> None:
    first, *others = found.items()
    for name, one in others:
        if one.pixels != first[1].pixels:
            raise UserError(
                f"{first[0]} was measured on {first[1].data}, {name} on {one.data}: not the same images; "
                "measure both on one test set, binarised in one way with one seed"
            )
        if one.measure != first[1].measure:
            raise UserError(
                f"{first[0]} gives a {first[1].measure} of the pixels, {name} a {one.measure}: no number of nats makes "
                "them comparable; give both a likelihood of one kind, such as logistic and categorical"
            )
