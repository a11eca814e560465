"""Spans of the weight over which a path keeps the same number of latents."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ppvae.errors import UserError

__all__ = ["chosen_plateau", "plateaus", "say_plateau", "say_plateaus", "strength"]

NONE = "no number of latents holds over two levels: the data ask for none in particular"
END = ", where the path ends"
RULES = ("by_ablation", "by_kl", "active_units")


def plateaus(path: xr.Dataset, rule: str | None = None) -> xr.Dataset:
    """The spans of levels over which as many latents are in, from the first weight to the last.

    path: of :func:`ppvae.path`. ``rule``: the boolean variable (level, latent) that says which latents are in, by
    default ``by_ablation``, or ``by_kl`` where the path has none. ``by_relevance`` overlooks a factor that is worth
    less than a hundredth of the decoder's squared slope, such as a small shape.

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
        return NONE
    name, scale = strength(path)
    end = "" if bool(found["ended"]) else END
    return _sentence(int(found["count"]), name, *(scale[int(found[end])] for end in ("first", "last"))) + end


def say_plateaus(paths: Sequence[xr.Dataset], rule: str | None = None) -> str:
    """One sentence over several seeds: the number that most of them find, over the weights that these have in common.

    UserError for no path.
    """
    if not paths:
        raise UserError("paths is empty; give that of one seed or more")
    found = [chosen_plateau(path, rule) for path in paths]
    counts = [int(one["count"]) for one in found if one is not None]
    if not counts:
        return f"{NONE}, in {len(paths)} of {len(paths)} seeds"
    count = max(sorted(set(counts)), key=counts.count)
    agreed = [(path, one) for path, one in zip(paths, found, strict=True) if one is not None and one["count"] == count]
    name, high = strength(agreed[0][0])[0], min(strength(path)[1][int(one["first"])] for path, one in agreed)
    low = max(strength(path)[1][int(one["last"])] for path, one in agreed)
    span = _sentence(count, name, high, low) if low < high else f"{_latents(count)}, at no {name} that all share"
    span += "" if any(bool(one["ended"]) for _, one in agreed) or low >= high else END
    others = sorted(set(counts) - {count})
    more = f"; others {', '.join(map(str, others))}" if others else ""
    return f"{span}, in {len(agreed)} of {len(paths)} seeds{more}"


def _sentence(count: int, name: str, high: float, low: float) -> str:
    return f"{_latents(count)}, from {name} = {high:.2g} to {low:.2g}"


def _latents(count: int) -> str:
    return f"{count} latent{'s' if count != 1 else ''}"


def strength(path: xr.Dataset) -> tuple[str, np.ndarray]:
    """What the weights are told in, and their values by level."""
    return ("σ√β", path["noise"].values) if "noise" in path.coords else ("β", path["weight"].values)


def _rule(path: xr.Dataset, rule: str | None) -> str:
    there = [name for name in RULES if name in path] if rule is None else [rule]
    if not there or there[0] not in path or path[there[0]].dims != ("level", "latent"):
        raise UserError(f"path has {sorted(map(str, path.data_vars))}, not {rule or RULES[0]} (level, latent)")
    return there[0]
