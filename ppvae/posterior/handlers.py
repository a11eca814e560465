"""Effect handlers that give a program its latents, free its observations, or end it early."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger

__all__ = ["Given", "Unobserved", "is_observation", "latent_part", "traced"]

Message = dict[str, Any]


class Given(Messenger):
    """Give sites their values, as ``poutine.replay`` does, and leave them what the program itself declares of them."""

    def __init__(self, values: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Message) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True


class Unobserved(Messenger):
    """Let a program draw what it observes; its deterministic sites and factors stay, for they are no observations."""

    def _pyro_sample(self, msg: Message) -> None:
        if is_observation(msg):
            msg["is_observed"], msg["value"], msg["done"] = False, None, False
            msg["infer"] = {**msg["infer"], "was_observed": True}


def is_observation(site: Message) -> bool:
    """Whether the site's value is data: given, yet neither deterministic nor a bare factor."""
    if not site["is_observed"] or site["infer"].get("_deterministic"):
        return False
    return not isinstance(site["fn"], dist.Unit)


class _Seen(Exception):
    """All the sites that were waited for are drawn."""


class _Until(Messenger):
    """End the program behind the last of ``names``."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.waiting = set(names)

    def _pyro_post_sample(self, msg: Message) -> None:
        if msg["name"] in self.waiting:
            self.waiting.remove(msg["name"])
            if not self.waiting:
                raise _Seen


def latent_part(model: Callable, values: Mapping[str, torch.Tensor], *args: Any) -> poutine.Trace:
    """The model's trace given the latents ``values``, up to the last of them: no decoder runs that stands behind it."""
    with poutine.trace() as tracer, Given(values):
        try:
            with _Until(values):
                model(*args)
        except _Seen:
            pass
    return tracer.trace


def traced(program: Callable, args: tuple, kwargs: Mapping[str, Any], *handlers: Messenger) -> poutine.Trace:
    """The program's trace under the handlers, the last of them nearest to it."""
    for handler in reversed(handlers):
        program = handler(program)
    return poutine.trace(program).get_trace(*args, **kwargs)
