"""Which axis of a site's value has which name: plates, declared event dims, ArviZ's defaults."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch

from ppvae.errors import UserError
from ppvae.pair.sites import Named, Site

__all__ = ["Labels", "Names", "check_known", "log_probs", "values", "whole_shape"]

type Dims = Mapping[str, Sequence[str | None]]


@dataclass(frozen=True)
class Names:
    """The names a user gives: all ``dims`` of a site, or the ``events`` that follow its plates."""

    dims: Dims = field(default_factory=dict)
    events: Dims = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """How the variables of a call are named; each field as the argument of ``from_pyro_svi``."""

    sample_dims: tuple[str, ...]
    coords: Mapping[str, Any]
    dims: Dims
    pred_dims: Dims
    extra_event_dims: Dims
    index_origin: int | None

    def names(self, declared: Dims, dims: Dims) -> Names:
        """The names of the sites' dims, with the event dims that the programs have declared."""
        extra = self.extra_event_dims
        events = {name: [*declared.get(name, []), *extra.get(name, [])] for name in declared.keys() | extra.keys()}
        return Names(dims, events)


def check_known(argument: str, given: Mapping[str, Any], known: Iterable[str], remedy: str = "") -> None:
    """UserError for a name in ``argument`` that is none of the known ones; it lists the nearest, or else all."""
    known = sorted(known)
    for name in given:
        if name not in known:
            near = ", ".join(get_close_matches(name, known) or known) or "no names here"
            raise UserError(f"{argument} names {name!r}; expected one of: {near}" + (f" ({remedy})" if remedy else ""))


def values(site: Site, names: Names) -> Named:
    """The site's value with its dims: plates by their names, then event dims."""
    value = torch.as_tensor(site["value"]).expand(whole_shape(site))
    batch, kept = _batch(site, value)
    shape = [*(value.shape[axis] for axis in kept), *value.shape[len(batch) :]]
    events = [*names.events.get(site["name"], site["infer"].get("event_dims", []))]
    found = [batch[axis] for axis in kept] + [None] * (len(shape) - len(kept))
    found[len(kept) : len(kept) + len(events)] = events
    return _named(site["name"], found, shape, names), value.reshape(shape)


def log_probs(site: Site, term: torch.Tensor, names: Names) -> Named:
    """A site's term (*batch) with the dims of the site's value that are no event dims."""
    term = term.expand(torch.broadcast_shapes(term.shape, site["fn"].batch_shape))
    batch, kept = _batch(site, term, events=0)
    shape = [term.shape[axis] for axis in kept]
    return _named(site["name"], [batch[axis] for axis in kept], shape, names, whole=False), term.reshape(shape)


def whole_shape(site: Site) -> torch.Size:
    """The full shape of the site's value by its distribution; of a deterministic site as the program computed it."""
    shape = torch.as_tensor(site["value"]).shape
    if site["infer"].get("_deterministic"):
        return shape
    return torch.broadcast_shapes(shape, site["fn"].batch_shape + site["fn"].event_shape)


def _batch(site: Site, value: torch.Tensor, events: int | None = None) -> tuple[list[str | None], list[int]]:
    """The plates of the leading axes, None where there is none, and which of these axes stay: those of size one that
    no plate made only align dims."""
    plates = {frame.dim: frame for frame in site["cond_indep_stack"] if frame.vectorized}
    events = site["fn"].event_dim if events is None else events
    if site["infer"].get("_deterministic") and events == value.dim() and _in_plates(value, plates):
        events = value.dim() + min(plates)  # pyro.deterministic calls every axis an event unless told otherwise
    count = value.dim() - events
    batch = [plates[axis - count].name if axis - count in plates else None for axis in range(count)]
    return batch, [axis for axis, name in enumerate(batch) if name or value.shape[axis] > 1]


def _in_plates(value: torch.Tensor, plates: Mapping[int, object]) -> bool:
    """Whether the leading axes have the plates' sizes."""
    depth = -min(plates, default=0)
    if not 0 < depth <= value.dim():
        return False
    return all(value.shape[depth + dim] == frame.size for dim, frame in plates.items())


def _named(
    site: str, found: list[str | None], shape: list[int], names: Names, *, whole: bool = True
) -> tuple[str, ...]:
    given = names.dims.get(site)
    if given is not None and (len(given) == len(shape) or (not whole and len(given) > len(shape))):
        return tuple(name or f"{site}_dim_{i}" for i, name in enumerate(given[: len(shape)]))
    if given is not None or len(found) > len(shape):
        raise UserError(
            f"site {site!r} has dims of sizes {tuple(shape)}; got the names {list(given or found)}: give one to each"
        )
    defaults = (f"{site}_dim_{i}" for i in range(len(shape)))
    return tuple(name or next(defaults) for name in found)
