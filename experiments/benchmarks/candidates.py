"""Who competes: each candidate is a function that trains for so many steps."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import pyro
import torch
from lightning_fabric import Fabric
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from ppvae import BetaELBO, Objective
from ppvae.svi.recipe import Precision
from ppvae.svi.step import Step

from .pythae_vae import build_pythae, pythae_version
from .setups import AnySetup, Kind, Setup

__all__ = [
    "BASELINE",
    "CAPTURED",
    "LEARNING_RATE",
    "OURS",
    "UNCOMPILED",
    "Candidate",
    "Way",
    "candidates",
    "hand_written",
    "ours",
]

BASELINE, UNCOMPILED = "hand-written, compiled", "hand-written, eager"
OURS, CAPTURED = "ours, compiled", "ours, captured"
LEARNING_RATE = 1e-6  # parameters hardly move, so that every round times the same work
Run = Callable[[int], None]
Way = Literal["compiled", "captured", "eager"]


class Candidate(NamedTuple):
    """``run(steps)`` trains one system for so many steps."""

    model: str
    name: str
    run: Run


def candidates(setup: Setup, fabric: Fabric, *, compiled: bool = True) -> Iterator[Candidate]:
    """All that compete in one set-up, in the order of a round; without the compiled ones if so wished."""
    images = setup.images().to(fabric.device)
    ways: tuple[Way, ...] = ("compiled", "captured", "eager") if compiled else ("captured", "eager")
    for kind in ("VAE", "NGVAE"):
        for way in ways:
            yield Candidate(kind, f"ours, {way}", ours(setup.pair(kind), BetaELBO(), images, fabric, way))
        if compiled:
            yield Candidate(kind, BASELINE, hand_written(setup, kind, images, compiled=True))
        yield Candidate(kind, UNCOMPILED, hand_written(setup, kind, images, compiled=False))
        yield Candidate(kind, "plain Pyro SVI", plain_pyro(setup, kind, images))
        if kind == "VAE" and pythae_version():
            yield Candidate(kind, "pythae", _pythae(setup, images))
    for way in ways:
        pair = setup.pair("NGVAE", estimator="g-rep")
        yield Candidate("NGVAE, g-rep", f"ours, {way}", ours(pair, BetaELBO(estimator="trace"), images, fabric, way))


def ours(
    pair: tuple[nn.Module, nn.Module],
    objective: Objective,
    images: torch.Tensor,
    fabric: Fabric,
    way: Way,
    precision: Precision = "full",
) -> Run:
    """The loop of :func:`ppvae.svi.fit` without its data, bar and log; RuntimeError where compilation fell back."""
    step = Step(*pair, objective, precision=precision).to(fabric.device).train()
    adam = torch.optim.Adam(step.parameters(), lr=LEARNING_RATE, fused=True)
    numbers = torch.tensor(objective.numbers(0), device=fabric.device)
    step.prepare(images, numbers, execution=way)
    if step.execution != way:
        raise RuntimeError("ours fell back to a simpler way; its log says why")

    def run(steps: int) -> None:
        total = 0
        with pyro.validation_enabled(False):
            for _ in range(steps):
                adam.zero_grad()
                loss, values = step(images, numbers)
                loss.backward()
                adam.step()
                total = total + values

    return run


def plain_torch(loss: Callable[[torch.Tensor], torch.Tensor], system: nn.Module, images: torch.Tensor) -> Run:
    """The loop of everybody: forward, backward, fused Adam."""
    adam = torch.optim.Adam(system.parameters(), lr=LEARNING_RATE, fused=True)

    def run(steps: int) -> None:
        for _ in range(steps):
            adam.zero_grad()
            loss(images).backward()
            adam.step()

    return run


def plain_pyro(setup: Setup, kind: Kind, images: torch.Tensor) -> Run:
    """``SVI.step`` with ``Trace_ELBO`` and Pyro's own Adam, as in Pyro's tutorials."""
    model, guide = (program.to(images.device) for program in setup.pair(kind))
    adam = pyro.optim.Adam({"lr": LEARNING_RATE})  # type: ignore[attr-defined]  # Pyro makes it of torch's
    svi = SVI(model, guide, adam, Trace_ELBO())

    def run(steps: int) -> None:
        for _ in range(steps):
            svi.step(images)

    return run


def hand_written(setup: AnySetup, kind: str, images: torch.Tensor, *, compiled: bool) -> Run:
    """The set-up's hand-written system in that loop, with or without ``torch.compile``."""
    system = setup.hand_written(kind).to(images.device)
    loss = torch.compile(system, dynamic=False, fullgraph=True) if compiled else system
    return plain_torch(loss, system, images)


def _pythae(setup: Setup, images: torch.Tensor) -> Run:
    system = build_pythae(setup).to(images.device)
    return plain_torch(lambda batch: system({"data": batch}).loss, system, images)
