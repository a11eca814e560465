"""Effect handlers that give a program its latents, free its observations, or end it early."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger

from ppvae.errors import UserError

__all__ = ["Given", "Unobserved", "is_observation", "latent_part", "prior_part", "sites_until", "traced"]

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
    return _begun(model, values, args, Given(values))


def prior_part(model: Callable, names: Collection[str], *args: Any) -> poutine.Trace:
    """The model's trace with nothing given, up to the last of the latents ``names``: nothing behind it is drawn."""
    return _begun(model, names, args, Unobserved())


def _begun(model: Callable, names: Collection[str], args: tuple, handler: Messenger) -> poutine.Trace:
    with poutine.trace() as tracer, handler:
        try:
            with _Until(names):
                model(*args)
        except _Seen:
            pass
    return tracer.trace


class _Reached(Exception):
    """The site that was asked for is next."""


class _Before(Messenger):
    """End the program at site ``name``, and give every latent before it a value."""

    def __init__(self, name: str, values: Mapping[str, torch.Tensor], other: Callable) -> None:
        super().__init__()
        self.name, self.values, self.other = name, values, other
        self.passed: list[Message] = []

    def _pyro_sample(self, msg: Message) -> None:
        if type(msg["fn"]).__name__ == "_Subsample":
            return
        self.passed.append(msg)
        if msg["name"] == self.name:
            raise _Reached
        if not msg["is_observed"]:
            given = msg["name"] in self.values
            msg["value"], msg["done"] = self.values[msg["name"]] if given else self.other(msg["fn"]), True


def sites_until(
    model: Callable,
    name: str,
    values: Mapping[str, torch.Tensor],
    other: Callable[[dist.TorchDistribution], torch.Tensor],
    *args: Any,
    **kwargs: Any,
) -> list[Message]:
    """The model's sample sites up to ``name``, the last, of which only the distribution is there: it is not drawn.

    Latents have their ``values``, those that are not among them what ``other`` makes of their distributions.
    Errors: :class:`~ppvae.errors.UserError` for a model without that site.
    """
    handler = _Before(name, values, other)
    try:
        with handler:
            model(*args, **kwargs)
    except _Reached:
        return handler.passed
    found = ", ".join(repr(site["name"]) for site in handler.passed) or "no sites"
    raise UserError(f"the model has no site {name!r}, it has {found}; give the tree of this model's own posterior")


def traced(program: Callable, args: tuple, kwargs: Mapping[str, Any], *handlers: Messenger) -> poutine.Trace:
    """The program's trace under the handlers, the last of them nearest to it."""
    for handler in reversed(handlers):
        program = handler(program)
    return poutine.trace(program).get_trace(*args, **kwargs)
