"""What a call depends on, in short: two calls with one fingerprint give one result."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine

from ppvae.pair.settings import plain_attributes
from ppvae.pair.sites import sample_sites, scaled
from ppvae.pair.untouched import modules_of

__all__ = ["hashed", "probed", "weights_of"]

PROBED = 8  # numbers of each site and kind


def hashed(*values: Any) -> str:
    """A hash of plain values, arrays and mappings of them."""
    return hashlib.sha256(json.dumps(values, default=_plain, sort_keys=True).encode()).hexdigest()


def weights_of(*programs: Callable) -> str:
    """A hash of the programs' parameters, buffers and settings, and of Pyro's parameter store."""
    digest = hashlib.sha256()
    for program in programs:
        modules = [part for owner in modules_of([program]) for part in owner.modules()]
        digest.update(repr([(type(module).__qualname__, plain_attributes(module)) for module in modules]).encode())
        digest.update((getattr(program, "__qualname__", None) or type(program).__qualname__).encode())
        for module in modules[:1]:
            _add(digest, {**dict(module.named_parameters()), **dict(module.named_buffers())})
    _add(digest, dict(pyro.get_param_store().items()))
    return digest.hexdigest()


def probed(*traces: poutine.Trace) -> dict[str, list[float]]:
    """What one run of the programs drew and scored: some values of each site and their log densities, in nats.

    It tells apart what holds its weights where :func:`weights_of` cannot look: in closures, or in modules that a plain
    function calls.
    """
    numbers = {}
    for index, trace in enumerate(traces):
        for site in sample_sites(trace):
            value = torch.as_tensor(site["value"])
            scores = scaled(site, site["fn"].log_prob(value))
            parts = [scores] if site["is_observed"] else [scores, value]
            numbers[f"{index} {site['name']}"] = [x for part in parts for x in _first(part)]
    return numbers


def _first(tensor: torch.Tensor) -> list[float]:
    return torch.nan_to_num(torch.as_tensor(tensor).double().flatten()[:PROBED]).tolist()


def _add(digest: Any, tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        digest.update(repr((name, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
