"""Many runs of one program: all at once under a plate of draws where the program allows it, else one by one."""

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger

from ppvae.errors import UserError
from ppvae.pair.sites import Site, sample_sites
from ppvae.posterior.handlers import Given, traced

__all__ = [
    "CHECKED",
    "DRAWS",
    "Call",
    "Runs",
    "batch_dims",
    "checked",
    "drawn_sites",
    "is_point",
    "plate",
    "run",
    "same",
    "spread",
    "total",
]

DRAWS = "_draws"  # the plate of all draws
CHECKED = 4  # runs of a plate that are repeated on their own

type Values = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Call:
    """A program with its arguments under handlers, the last of them nearest to it."""

    program: Callable
    args: tuple
    kwargs: Mapping[str, Any]
    handlers: tuple[Messenger, ...] = ()

    def alone(self, given: Values = {}) -> poutine.Trace:  # noqa: B006 - read only
        """The trace of one run, given some of its values."""
        return traced(self.program, self.args, self.kwargs, Given(given), *self.handlers)

    def under(self, *handlers: Messenger) -> "Call":
        """The same under further handlers, nearer to the program."""
        return replace(self, handlers=(*self.handlers, *handlers))


@dataclass(frozen=True)
class Runs:
    """``count`` runs of one program, whose sites are those of ``example``, a run on its own.

    Shapes: values by site, (count, *shape of the example's value); terms, scaled and masked log densities in nats by
    site, (count, *batch shape).
    """

    example: poutine.Trace
    count: int
    values: dict[str, torch.Tensor]
    terms: dict[str, torch.Tensor]

    @property
    def log_prob(self) -> torch.Tensor:
        """Of each run as a whole, (count,)."""
        return total(self.terms.values(), self.count)

    def drawn(self) -> dict[str, torch.Tensor]:
        """The values that were not given by the program itself."""
        return {site["name"]: self.values[site["name"]] for site in drawn_sites(self.example)}


def drawn_sites(trace: poutine.Trace) -> list[Site]:
    """Sites whose values were drawn, nuisances among them."""
    return [site for site in sample_sites(trace) if not site["is_observed"]]


def total(terms: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """The sum of terms (count, *batch) of each run as a whole, (count,)."""
    sums = [term.reshape(count, -1).sum(1) for term in terms]
    return sum(sums) if sums else torch.zeros(count)


def run(call: Call, example: poutine.Trace, count: int, given: Values = {}) -> Runs:  # noqa: B006 - read only
    """``count`` runs given values (count, ...) by site: one on its own, more of them at once.

    Errors: :class:`~ppvae.errors.UserError` where the runs' sites, or a site's shapes, are not the example's, and for
    runs at once that are not what runs on their own would be.
    """
    if count == 1:
        return _of(call.alone({name: value[0] for name, value in given.items()}), example, 1)
    with plate(count, example):
        trace = call.alone(spread(given, example))
    runs = _of(trace, example, count)
    _check_alike(call, runs, given)
    return runs


def plate(count: int, example: poutine.Trace) -> pyro.plate:
    """The plate of ``count`` draws, left of all that the example has."""
    return pyro.plate(DRAWS, count, dim=-1 - batch_dims(example))


def batch_dims(trace: poutine.Trace) -> int:
    """How many dims, counted from the right, the trace's plates, distributions and values take."""
    depths = [0]
    for site in sample_sites(trace):
        depths += [-frame.dim for frame in site["cond_indep_stack"] if frame.vectorized]
        depths += [len(site["fn"].batch_shape), torch.as_tensor(site["value"]).dim() - site["fn"].event_dim]
    return max(depths)


def spread(given: Values, example: poutine.Trace) -> dict[str, torch.Tensor]:
    """Values (count, ...) by site with the draws where their plate has them."""
    depth = batch_dims(example)
    return {name: _spread(value, example.nodes[name], depth) for name, value in given.items() if name in example.nodes}


def _spread(value: torch.Tensor, site: Site, depth: int) -> torch.Tensor:
    missing = depth - (value.dim() - 1 - site["fn"].event_dim)
    return value.reshape(len(value), *(1,) * missing, *value.shape[1:])


def _of(trace: poutine.Trace, example: poutine.Trace, count: int) -> Runs:
    """A trace's values and terms with the draws as their first axis."""
    sites, wanted = ({site["name"]: site for site in sample_sites(one)} for one in (trace, example))
    if sites.keys() != wanted.keys():
        raise UserError(f"latent sites {list(sites)} came after {list(wanted)}; make them the same in every run")
    trace.compute_log_prob()
    example.compute_log_prob()
    values = {name: _first(name, site["value"], wanted[name]["value"], count) for name, site in sites.items()}
    terms = {name: _first(name, site["log_prob"], wanted[name]["log_prob"], count) for name, site in sites.items()}
    return Runs(example, count, values, terms)


def _first(name: str, value: Any, like: Any, count: int) -> torch.Tensor:
    """The value as (count, *shape of ``like``): its draws' axis leads, or it has none and is the same in all."""
    value, shape = torch.as_tensor(value), torch.as_tensor(like).shape
    extra = value.dim() - len(shape)
    tail = value.shape[max(extra, 0) :]
    if extra < 0 or tail != shape or any(size != 1 for size in value.shape[1:extra]):
        raise UserError(
            f"site {name!r} came with shapes {tuple(shape)} and {tuple(value.shape)}; make it the same in every run"
        )
    return value.reshape(value.shape[0] if extra else 1, *shape).expand(count, *shape)


def _check_alike(call: Call, runs: Runs, given: Collection[str]) -> None:
    """UserError unless some of the runs under the plate equal runs on their own, given what was drawn there.

    Nothing may then be left to chance: whatever else the program draws, the runs would share.
    """
    sites = [s for s in sample_sites(runs.example) if not s["infer"].get("_deterministic")]
    names = [s["name"] for s in sites if s["name"] in given or not (s["is_observed"] or is_point(s["fn"]))]
    for index in checked(runs.count):
        before = _chance()
        trace = call.alone({name: runs.values[name][index] for name in names})
        if _chance() != before:
            raise UserError("the program draws more than its sites; make them the same in every run")
        one = _of(trace, runs.example, 1)
        for part in ("values", "terms"):
            for name, value in getattr(one, part).items():
                if not same(value[0], getattr(runs, part)[name][index]):
                    raise UserError(f"site {name!r} is another under a plate of draws; make it the same in every run")


def checked(count: int) -> list[int]:
    """Those of ``count`` runs that are repeated on their own."""
    return torch.linspace(0, count - 1, min(CHECKED, count)).long().tolist()


def _chance() -> tuple[Any, ...]:
    """Where the random streams stand."""
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
    return random.getstate(), *(state.numpy().tobytes() for state in states)


def is_point(fn: Any) -> bool:
    """Whether a distribution is a point, which the runs before it fix: given again, rounding would move it."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, dist.Delta)


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal but for rounding: half the digits of the largest entry."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    tolerance = torch.finfo(one.dtype).eps ** 0.5
    finite = one[one.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * max(scale, 1e-30), equal_nan=True)
