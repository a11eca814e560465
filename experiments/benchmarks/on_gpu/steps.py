"""Single steps on the device: how each pair runs, how fast, and what bf16 does to it."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.fx import GraphModule

from ppvae import BetaELBO, Objective
from ppvae.svi.agreement import rehearsed
from ppvae.svi.compilation import compile_graph
from ppvae.svi.recipe import Precision
from ppvae.svi.step import Step

from ..candidates import BASELINE, UNCOMPILED, Candidate, Way, candidates, ours
from ..hierarchies import HierarchySetup
from ..setups import Setup
from ..step_time import milliseconds
from ..two_view_setup import TwoViewSetup
from .sizes import Sizes, Trained
from .trial import Found, Unit

__all__ = ["bf16_units", "capture_units", "compilation_units", "time_units"]

AGREEMENT = 1e-3  # relative difference of a loss between the ways that one step runs


def capture_units(sizes: Sizes, fabric: Fabric) -> Iterator[Unit]:
    """Each pair's step recorded: the seconds it takes, and its loss beside the eager step's."""
    for trained in sizes.pairs():
        yield Unit(trained.name, partial(_executions, trained, fabric, compiled=False))


def compilation_units(sizes: Sizes, fabric: Fabric) -> Iterator[Unit]:
    """The recorded steps through ``torch.compile``."""
    for trained in sizes.pairs() if sizes.compiled else ():
        yield Unit(trained.name, partial(_executions, trained, fabric, compiled=True))


def _executions(trained: Trained, fabric: Fabric, *, compiled: bool) -> Iterator[Found]:
    name, pair, objective, setup = trained
    step, inputs = _step(setup, pair, objective, fabric)
    step.prepare(*inputs, execution="eager")
    eager = _loss(step, step.run, inputs)
    with _heard() as said:
        seconds = _seconds(lambda: step.prepare(*inputs, execution="captured"), fabric.device)
        way, run = step.execution, step.run
        if compiled and way == "captured":
            found, graph = list[Callable | None](), cast(GraphModule, run)
            seconds = _seconds(lambda: found.append(compile_graph(graph, *inputs, preserve=step)), fabric.device)
            way, run = ("captured", run) if found[0] is None else ("compiled", found[0])
    wanted = "compiled" if compiled else "captured"
    note = way if way == wanted else f"runs {way}: {'; '.join(said)}"
    loss = _loss(step, run, inputs)
    yield Found(f"{name}: until {wanted}", seconds, "s", note=note)
    apart = abs(loss - eager) / max(abs(eager), 1e-12)
    yield Found(f"{name}: loss {way}", loss, "nats/image", eager, f"relative difference to eager {apart:.1g}")
    if not apart <= AGREEMENT:
        raise RuntimeError(f"the loss {way} is {loss:g}, eager {eager:g}")


def time_units(sizes: Sizes, fabric: Fabric) -> Iterator[Unit]:
    """Step times beside hand-written PyTorch and plain Pyro, uncompiled first, as less can fail there."""

    def times_of(setup: Setup, what: str, compiled: bool) -> Iterator[Found]:
        rivals = list(candidates(setup, fabric, compiled=compiled))
        times = milliseconds(rivals, sizes.steps, sizes.rounds, fabric.device)
        other = BASELINE if compiled else UNCOMPILED
        for (model, candidate), row in times.items():
            baseline = times[model.partition(",")[0], other]
            yield _timed(f"{what}: {model}, {candidate}", row, baseline, f"over {other}")

    for compiled in (False, True) if sizes.compiled else (False,):
        for name in sizes.timed:
            setup = sizes.setups[name]
            what = f"{name}, {'all' if compiled else 'nothing'} compiled"
            yield Unit(what, partial(times_of, setup, what, compiled))


def _timed(what: str, row: np.ndarray, baseline: np.ndarray, over: str) -> Found:
    """The median, with the reference that makes their ratio the median of the ratios within rounds."""
    value = float(np.median(row))
    note = f"{over}; {row.min():.3g}-{row.max():.3g} ms"
    return Found(what, value, "ms/step", value / float(np.median(row / baseline)), note)


def bf16_units(sizes: Sizes, fabric: Fabric) -> Iterator[Unit]:
    """Networks in bf16 beside full precision: step time and loss."""

    def measure(name: str, setup: Setup) -> Iterator[Found]:
        images = setup.images().to(fabric.device)
        way: Way = "compiled" if sizes.compiled else "captured"
        losses, rivals = {}, []
        for precision in ("full", "bf16"):
            pair = setup.pair("NGVAE")
            run = ours(pair, BetaELBO(), images, fabric, way, precision)
            rivals.append(Candidate("NGVAE", precision, run))
            step, inputs = _step(setup, setup.pair("NGVAE"), BetaELBO(), fabric, precision)
            step.prepare(*inputs, execution="eager")
            losses[precision] = _loss(step, step.run, inputs)
        times = milliseconds(rivals, sizes.steps, sizes.rounds, fabric.device)
        full, half = (times["NGVAE", precision] for precision in ("full", "bf16"))
        yield _timed(f"{name}: NGVAE in bf16, {way}", half, full, "over full precision")
        apart = abs(losses["bf16"] - losses["full"]) / abs(losses["full"])
        note = f"relative difference to full precision {apart:.1g}"
        yield Found(f"{name}: NGVAE's loss in bf16", losses["bf16"], "nats/image", losses["full"], note)

    for name in sizes.timed:
        yield Unit(name, partial(measure, name, sizes.setups[name]))


def _step(
    setup: Setup | HierarchySetup | TwoViewSetup,
    pair: tuple[nn.Module, nn.Module],
    objective: Objective,
    fabric: Fabric,
    precision: Precision = "full",
) -> tuple[Step, tuple[torch.Tensor, ...]]:
    """A step on the device, and what it takes: a batch of the set-up's images and the objective's numbers."""
    step = Step(*pair, objective, precision=precision).to(fabric.device).train()
    return step, (setup.images().to(fabric.device), torch.tensor(objective.numbers(0), device=fabric.device))


def _loss(step: Step, run: Callable, inputs: tuple[torch.Tensor, ...]) -> float:
    return float(rehearsed(run, *inputs, preserve=step)[0][0])


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Warnings of the library while it runs."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # of this one alone
    logger = logging.getLogger("ppvae")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
