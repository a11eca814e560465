"""Parameters that have diverged, found before anything is said about the pair."""

from typing import Any

import torch
from pyro import poutine

from ppvae.errors import UserError
from ppvae.pair.untouched import modules_of

__all__ = ["check_finite", "check_finite_run"]


def check_finite(model: Any, guide: Any) -> None:
    """UserError that names a parameter of the pair which is NaN or infinite, or a buffer which is NaN."""
    for role, program in (("model", model), ("guide", guide)):
        for module in modules_of([program]):
            for name, parameter in module.named_parameters():
                name = name.removesuffix("_unconstrained")  # Pyro's own, of a PyroParam
                _check(f"parameter {name!r} of the {role}", parameter, parameter.isfinite())
            for name, buffer in module.named_buffers():
                _check(f"buffer {name!r} of the {role}", buffer, ~buffer.isnan())


def check_finite_run(*traces: poutine.Trace) -> None:
    """UserError that names a parameter of Pyro's which is NaN or infinite in a run, or a site drawn as NaN."""
    for trace in traces:
        for name, site in trace.nodes.items():
            value = site.get("value")
            if site["type"] == "param":
                _check(f"parameter {name!r}", value, value.isfinite())
            elif site["type"] == "sample" and not site["is_observed"] and isinstance(value, torch.Tensor):
                _check(f"site {name!r}", value, ~value.isnan())


def _check(what: str, values: torch.Tensor, sound: torch.Tensor) -> None:
    if not sound.all():
        bad = int((~sound).sum())
        raise UserError(
            f"{what} has diverged: {bad} of {values.numel()} values are NaN or infinite; train again with a lower "
            "learning rate, or load an earlier checkpoint"
        )
