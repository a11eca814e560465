"""Whether the candidates compute the same thing: a benchmark of different computations is worthless."""

from collections.abc import Callable, Iterable
from functools import partial

import pyro
import torch
from torch import nn

from ppvae import BetaELBO

from .hand_written import HandWritten
from .pythae_vae import build_pythae, pythae_parts
from .setups import AnySetup, Setup

__all__ = ["check_agreement", "disagreement"]

TOLERANCE = 1e-4
FLOOR = 1e-6  # of the largest gradient
type Parts = tuple[torch.Tensor, torch.Tensor]


def check_agreement(setup: AnySetup, kind: str, *, pythae: bool = False) -> float:
    """Largest relative difference between ours and the others; RuntimeError above 1e-4.

    Distortion and rate, and with the hand-written system every gradient, are compared in double precision, from the
    same parameters and the same noise.
    """
    differences = disagreement(setup, kind, setup.hand_written(kind))
    if pythae and isinstance(setup, Setup) and kind == "VAE":
        system, images = build_pythae(setup).double(), setup.images().double()
        theirs = seeded(partial(pythae_parts, setup, system, images))
        differences |= _compared(_ours(setup, kind)[0], theirs, "pythae's")
    worst = max(differences, key=differences.__getitem__)
    if not differences[worst] < TOLERANCE:
        raise RuntimeError(f"{setup.title}, {kind}: {worst} differs by {differences[worst]:.2g}, relative")
    return differences[worst]


def disagreement(setup: AnySetup, kind: str, system: HandWritten) -> dict[str, float]:
    """Relative differences of a hand-written system from our pair: distortion, rate and each gradient."""
    parts, expected = _ours(setup, kind)
    system, images = system.double(), setup.images().double()
    distortion, rate = seeded(lambda: system.parts(images))
    (distortion + rate).backward()
    gradients = _gradients(system.named_parameters())
    differences = _compared(parts, (distortion, rate), "hand-written")
    least = FLOOR * max(gradient.norm() for gradient in expected.values())  # a bias that a norm cancels has none
    return differences | {f"gradient of {n}": _relative(gradients[n], expected[n], least) for n in gradients | expected}


def seeded[T](function: Callable[[], T]) -> T:
    """``function()`` with the noise of seed 0; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function()


def _ours(setup: AnySetup, kind: str) -> tuple[Parts, dict[str, torch.Tensor]]:
    model, guide = (program.double() for program in setup.pair(kind))
    objective, images = BetaELBO(), setup.images().double()
    with pyro.validation_enabled(False):
        terms = seeded(lambda: objective.measure(model, guide, images))
    objective.loss(terms).backward()
    gradients = _gradients(setup.parameters(model, guide).items())
    return (terms.distortion.mean(), terms.rate.mean()), gradients


def _gradients(parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in parameters if parameter.grad is not None}


def _compared(ours: Parts, theirs: Parts, whose: str) -> dict[str, float]:
    names = (f"{whose} distortion", f"{whose} rate")
    return {name: _relative(value, true) for name, value, true in zip(names, theirs, ours, strict=True)}


def _relative(value: torch.Tensor, true: torch.Tensor, least: float | torch.Tensor = 0.0) -> float:
    return float(((value - true).norm() / true.norm().clamp(min=least)).detach())
