"""Memory of a training step of hierarchies: bf16, recomputed segments and the compiler's budget, alone and together.

``python -m experiments.benchmarks.memory [--groups 5 15 30] [--segments 2 4 8] [--compiled] [--accelerator cpu|cuda]
[--write PAGE.md]``

The same captured step each time: how much it holds at its peak, what autograd keeps of it between its passes, and its
time within a round, as shares of those of the plain step.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyro
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from ppvae import BetaELBO
from ppvae.svi.segments import segmented
from ppvae.svi.step import Step

from .candidates import Candidate, plain_torch
from .command import command, started
from .hierarchies import HIERARCHIES, HierarchySetup
from .step_time import Clock, Times, milliseconds, provenance, quartiles

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["main", "measured"]

PLAIN, MOST_MEMORY, MOST_TIME = "plain", 0.40, 1.35
BUDGET = 0.5
type Run = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class Way(NamedTuple):
    """One way to run a step: its name, the step, and what to call."""

    name: str
    step: Step
    run: Run


class Memory(NamedTuple):
    """Bytes: at a step's peak beyond what stood before, and what autograd keeps between its passes."""

    peak: int
    kept: int


def ways(
    setup: HierarchySetup, inputs: tuple[torch.Tensor, ...], segments: Sequence[int], compiled: bool
) -> Iterator[Way]:
    """Each flag alone and together, from one recording for each precision."""
    for precision in ("full", "bf16"):
        step = Step(*setup.pair(), BetaELBO(), precision=precision).to(inputs[0].device).train()
        step.prepare(*inputs, execution="eager")
        step.recompute = "auto"  # recorded and compared as where memory is to be saved
        found = step._recorded(inputs, lambda _: None)
        if found is None:
            raise RuntimeError("the step was not captured; its log says why")
        alone = PLAIN if precision == "full" else precision
        yield Way(alone, step, found.graph)
        for count in segments:
            name = f"recompute={count}" if precision == "full" else f"{precision}, recompute={count}"
            yield Way(name, step, segmented(found, count, preserve=step, rounding=step._rounding))
    for budget in (None, BUDGET) if compiled else ():
        step = Step(*setup.pair(), BetaELBO(), memory_budget=budget).to(inputs[0].device).train()
        step.prepare(*inputs, execution="compiled")
        yield Way("compiled" if budget is None else f"compiled, memory_budget={budget}", step, step.run)


def memory(way: Way, inputs: tuple[torch.Tensor, ...]) -> Memory:
    """Of the second of two steps, without an optimiser, to gradients that stand before."""
    for _ in range(2):
        way.step.zero_grad(set_to_none=False)
        gc.collect()
        most = peak(lambda: way.run(*inputs)[0].backward(), inputs[0].device)
    way.step.zero_grad()
    return Memory(most, kept(way, inputs))


def peak(call: Callable[[], object], device: torch.device) -> int:
    """Most bytes that ``call`` holds at once beyond what stood before: of the device's allocator, or of the CPU's."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    events = [one for one in profiled.profiler.kineto_results.events() if one.name() == "[memory]"]
    changes = [one.nbytes() for one in sorted(events, key=lambda one: one.start_ns())]
    return int(np.cumsum([0, *changes]).max())


def kept(way: Way, inputs: tuple[torch.Tensor, ...]) -> int:
    """What autograd keeps of a step between its passes: each storage once, without parameters, buffers and images."""
    known = {one.untyped_storage()._cdata for one in (*way.step.parameters(), *way.step.buffers(), *inputs)}
    seen: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        seen[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss = way.run(*inputs)
    return sum(storage.nbytes() for key, storage in seen.items() if key not in known)


def measured(
    setup: HierarchySetup, fabric: "Fabric", segments: Sequence[int], compiled: bool, steps: int, rounds: int
) -> tuple[dict[str, Memory], Times]:
    """Memory of each way, and milliseconds a step, all ways in turn round by round."""
    inputs = setup.images().to(fabric.device), torch.tensor((), device=fabric.device)
    with pyro.validation_enabled(False):
        all_ways = list(ways(setup, inputs, segments, compiled))
        found = {way.name: memory(way, inputs) for way in all_ways}
        rivals = [Candidate(setup.title, way.name, trainer(way, inputs)) for way in all_ways]
        clock: Clock = "cpu" if fabric.device.type == "cpu" and torch.get_num_threads() == 1 else "wall"
        return found, milliseconds(rivals, steps, rounds, fabric.device, clock)


def trainer(way: Way, inputs: tuple[torch.Tensor, ...]) -> Callable[[int], None]:
    return plain_torch(lambda images: way.run(images, inputs[1])[0], way.step, inputs[0])


HEAD = """\
| step | peak, MiB | share of plain | kept between passes, MiB | share of plain | ms a step | over plain: median \
(quartiles) |
|---|---:|---:|---:|---:|---:|---:|"""


def table(title: str, found: dict[str, Memory], times: Times) -> str:
    """Markdown: a line for each way."""
    lines = [HEAD]
    for name, (most, held) in found.items():
        shares = most / found[PLAIN].peak, held / found[PLAIN].kept
        row = times[title, name]
        cells = [f"{most / 2**20:.2f}", f"{shares[0]:.2f}", f"{held / 2**20:.2f}", f"{shares[1]:.2f}"]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {np.median(row):.1f} | {quartiles(row / times[title, PLAIN])} |"
        )
    return "\n".join(lines)


def verdicts(title: str, found: dict[str, Memory], times: Times) -> list[str]:
    """Of recomputation alone and with bf16: the fastest way within the target of memory, else the smallest."""
    lines = []
    for kind in ("recompute=", "bf16, recompute="):
        shares = {name: one.peak / found[PLAIN].peak for name, one in found.items() if name.startswith(kind)}
        ratios = {name: float(np.median(times[title, name] / times[title, PLAIN])) for name in shares}
        fitting = [name for name, share in shares.items() if share <= MOST_MEMORY]
        name = min(fitting, key=ratios.__getitem__) if fitting else min(shares, key=shares.__getitem__)
        for value, what, most in ((shares[name], "peak", MOST_MEMORY), (ratios[name], "time", MOST_TIME)):
            judged = "held" if value <= most else "MISSED"
            lines.append(f"- {judged}: {title}: {name}: {value:.2f} of the plain step's {what}, target ≤ {most:.2f}")
    return lines


HOW = """\
The library's own hierarchy, NVAE's cells with BatchNorm, one way down for prior and guide, captured and merged; nothing
is compiled but what says so. Peak: the most bytes that the allocator holds at once during forward and backward pass,
beyond what stood before, parameters and gradients among it. Kept: the storages that autograd holds between the two
passes. Times are those of training steps in turn, round by round, with fused Adam; a ratio is taken within a round."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.memory", __doc__, steps=2, rounds=9)
    parser.add_argument("--groups", nargs="+", type=int, choices=HIERARCHIES, default=list(HIERARCHIES))
    parser.add_argument("--segments", nargs="+", type=int, default=[2, 3, 6], help="into which the step is cut")
    parser.add_argument("--compiled", action="store_true", help="also compiled, with the compiler's budget: slow")
    parser.add_argument("--batch-size", type=int, help="images a step")
    parser.add_argument("--width", type=int, help="features of a map")
    chosen, fabric, load = started(parser, arguments)
    sizes = {name: value for name in ("batch_size", "width") if (value := getattr(chosen, name))}
    setups = [replace(HIERARCHIES[groups], **sizes) for groups in chosen.groups]
    page = written(setups, fabric, chosen.segments, chosen.compiled, chosen.steps, chosen.rounds, load)
    print(page)
    if chosen.write:
        Path(chosen.write).write_text(page + "\n")


def written(
    setups: Sequence[HierarchySetup],
    fabric: "Fabric",
    segments: Sequence[int],
    compiled: bool,
    steps: int,
    rounds: int,
    load: float,
) -> str:
    """The page."""
    parts, lines = [], []
    for setup in setups:
        found, times = measured(setup, fabric, segments, compiled, steps, rounds)
        parts += [f"## {setup.title}", table(setup.title, found, times)]
        lines += verdicts(setup.title, found, times)
    first = setups[0]
    note = (
        f"Images {first.image_shape}, batch {first.batch_size}, width {first.width}, {first.latents} latents a place."
    )
    facts = provenance("experiments.benchmarks.memory", fabric, load)
    return "\n\n".join(["# Memory of a training step of hierarchies", HOW, note, *parts, "\n".join(lines), facts])


if __name__ == "__main__":
    main()
