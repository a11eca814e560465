"""Discrete sites that only the model has: summed out in training, drawn from their exact posterior here."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer import infer_discrete
from pyro.infer.mcmc.util import TraceEinsumEvaluator
from pyro.poutine.util import prune_subsample_sites

from ppvae.posterior.handlers import Given, traced

__all__ = ["draw_discrete", "log_summed"]


def draw_discrete(
    model: Callable,
    args: tuple,
    kwargs: Mapping[str, Any],
    given: Mapping[str, torch.Tensor],
    names: Collection[str],
    plates: int,
) -> dict[str, torch.Tensor]:
    """Draw the sites ``names`` from p(names | given, observations), by forward filtering and backward sampling.

    ``plates``: how many dims the program's plates take; the ones left of them hold the enumeration.
    """
    drawn = infer_discrete(Given(given)(_enumerating(model, names)), first_available_dim=-1 - plates)
    trace = traced(drawn, args, kwargs)
    return {name: trace.nodes[name]["value"] for name in names}


def log_summed(
    model: Callable,
    args: tuple,
    kwargs: Mapping[str, Any],
    given: Mapping[str, torch.Tensor],
    names: Collection[str],
    plates: int,
) -> torch.Tensor:
    """log p(given, observations) = log Σ over ``names``, in nats, a scalar."""
    enumerated = poutine.enum(_enumerating(model, names), first_available_dim=-1 - plates)
    trace = prune_subsample_sites(traced(Given(given)(enumerated), args, kwargs))
    return TraceEinsumEvaluator(trace, has_enumerable_sites=True, max_plate_nesting=plates).log_prob(trace)


def _enumerating(model: Callable, names: Collection[str]) -> Callable:
    return poutine.infer_config(model, lambda site: {"enumerate": "parallel" if site["name"] in names else None})
