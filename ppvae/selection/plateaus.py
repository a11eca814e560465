"""Spans of the weight over which a path keeps the same number of latents."""

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["chosen_plateau", "plateaus", "say_plateau"]

RULES = ("by_ablation", "by_kl", "active_units")


def plateaus(path: xr.Dataset, rule: str | None = None) -> xr.Dataset:
    """The spans of levels over which as many latents are in, from the first weight to the last.

    path: of :func:`ppvae.path`. ``rule``: the boolean variable (level, latent) that says which latents are in, by
    default ``by_ablation``, or ``by_kl`` where the path has none.

    Returns over ``plateau``: ``count``, the ``first`` and ``last`` level of the span, the weights ``from_weight`` and
    ``to_weight`` of these, and ``width``, ½·log of their ratio, the logarithm of the ratio of the standard deviations
    σ√β that they stand for: 0 of a span of one level. ``ended`` is False of a span that reaches the path's end, which
    may be wider than was seen. With attribute ``rule``. UserError where the path has no such rule.
    """
    rule = _rule(path, rule)
    counts = path[rule].sum("latent").values
    edges = np.flatnonzero(np.diff(counts)) + 1
    first, last = np.r_[0, edges], np.r_[edges, len(counts)] - 1
    weights = path["weight"].values
    width = 0.5 * np.log(weights[first] / weights[last])
    variables = {
        "count": ("plateau", counts[first], {"long_name": "latents in", "units": "latents"}),
        "first": ("plateau", first, {"long_name": "first level"}),
        "last": ("plateau", last, {"long_name": "last level"}),
        "from_weight": ("plateau", weights[first]),
        "to_weight": ("plateau", weights[last]),
        "width": ("plateau", width, {"long_name": "log of the ratio of σ√β at its ends", "units": "1"}),
        "ended": ("plateau", last < len(counts) - 1),
    }
    return xr.Dataset(variables, attrs={"rule": rule, "latents": path.sizes["latent"]})


def chosen_plateau(path: xr.Dataset, rule: str | None = None) -> xr.Dataset | None:
    """The widest span with some latents in and not all of them; None where there is none of at least two levels."""
    spans = plateaus(path, rule)
    inside = (spans["count"] > 0) & (spans["count"] < spans.attrs["latents"]) & (spans["last"] > spans["first"])
    if not bool(inside.any()):
        return None
    return spans.isel(plateau=int(spans["width"].where(inside, -1.0).argmax("plateau")))


def say_plateau(path: xr.Dataset, rule: str | None = None) -> str:
    """One sentence: how many latents, over which weights."""
    found = chosen_plateau(path, rule)
    if found is None:
        return "no number of latents holds over two levels: the data ask for none in particular"
    count, ends = int(found["count"]), [int(found[end]) for end in ("last", "first")]
    if "noise" in path.coords:
        name, (low, high) = "σ√β", path["noise"].values[ends]
    else:
        name, (low, high) = "β", path["weight"].values[ends]
    end = "" if bool(found["ended"]) else ", where the path ends"
    return f"{count} latent{'s' if count != 1 else ''}, from {name} = {high:.2g} to {low:.2g}{end}"


def _rule(path: xr.Dataset, rule: str | None) -> str:
    there = [name for name in RULES if name in path] if rule is None else [rule]
    if not there or there[0] not in path or path[there[0]].dims != ("level", "latent"):
        raise UserError(f"path has {sorted(map(str, path.data_vars))}, not {rule or RULES[0]} (level, latent)")
    return there[0]
