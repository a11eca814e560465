"""Memory on the device, and what a trained pair is asked for there: exports of posteriors, log p(x)."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from ppvae import BetaELBO, from_pyro_svi, log_marginal
from ppvae.svi.recipe import Precision

from ..candidates import Way, ours
from .sizes import Sizes
from .trial import Found, Unit

__all__ = ["evaluation_units", "memory_units"]

AT_ONCE = 16_384  # images × draws decoded at a time


def memory_units(sizes: Sizes, fabric: Fabric) -> Iterator[Unit]:
    """The most memory of a few steps and of evaluation, in MiB; on a CPU what the process holds afterwards."""
    device, conv = fabric.device, sizes.setups["conv"]

    def steps(way: Way, precision: Precision) -> None:
        images = conv.images().to(device)
        ours(sizes.pair(), BetaELBO(), images, fabric, way, precision)(3)

    def measure(what: str, call: Callable[[], object]) -> Iterator[Found]:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        call()
        kind = "peak of allocated memory, captures included" if device.type == "cuda" else "resident set afterwards"
        yield Found(what, _mebibytes(device), "MiB", note=kind)

    calls: dict[str, Callable[[], object]] = {
        "steps, eager": lambda: steps("eager", "full"),
        "steps, captured": lambda: steps("captured", "full"),
        "steps in bf16, captured": lambda: steps("captured", "bf16"),
        "export": lambda: _export(sizes, *_pair(sizes, "conv", device)),
        "log_marginal": lambda: _estimate(sizes, *_pair(sizes, "conv", device)),
    }
    if sizes.compiled:
        calls["steps, compiled"] = lambda: steps("compiled", "full")
    for what, call in calls.items():
        yield Unit(what, partial(measure, what, call))


def evaluation_units(sizes: Sizes, fabric: Fabric) -> Iterator[Unit]:
    """Images and draws a second of an export and of log p(x), by the pairs of either set-up."""

    def export(name: str) -> Iterator[Found]:
        seconds = _seconds(_export, sizes, *_pair(sizes, name, fabric.device))
        note = f"{sizes.exported} images, {sizes.draws} draws each, their log p(x given z) included"
        yield Found(f"{name}: export", sizes.exported / seconds, "images/s", note=note)

    def estimate(name: str) -> Iterator[Found]:
        seconds = _seconds(_estimate, sizes, *_pair(sizes, name, fabric.device))
        note = f"{sizes.estimated} images, {sizes.samples} samples each"
        yield Found(f"{name}: log p(x)", sizes.estimated / seconds, "images/s", note=note)
        yield Found(f"{name}: log p(x), samples", sizes.estimated * sizes.samples / seconds, "samples/s", note=note)

    for name in sizes.setups:
        yield Unit(f"{name}: export", partial(export, name))
        yield Unit(f"{name}: log p(x)", partial(estimate, name))


def _pair(sizes: Sizes, name: str, device: torch.device) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """An untrained NGVAE on the device, and a batch of its images on the CPU."""
    setup = sizes.setups[name]
    model, guide = (program.to(device) for program in setup.pair("NGVAE"))
    return model, guide, setup.images()


def _export(sizes: Sizes, model: nn.Module, guide: nn.Module, images: torch.Tensor) -> None:
    """Draws of so many images; they come back to the CPU, which waits for the device."""
    data = _repeated(images, sizes.exported)
    from_pyro_svi(model, guide, data, sizes.draws, batch_size=AT_ONCE, observed_data=False)


def _estimate(sizes: Sizes, model: nn.Module, guide: nn.Module, images: torch.Tensor) -> None:
    found = log_marginal(model, guide, _repeated(images, sizes.estimated), sizes.samples, batch_size=AT_ONCE)
    if not bool(found["log_marginal"].notnull().all()):
        raise RuntimeError("log p(x) is not finite")


def _repeated(images: torch.Tensor, count: int) -> torch.Tensor:
    return images[torch.arange(count) % len(images)]


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def _mebibytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    held = Path("/proc/self/statm")
    if held.exists():
        return int(held.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
