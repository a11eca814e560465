"""Time of drawing images pixel after pixel: cached, by the fixed point, and naively with a pass a pixel.

``python -m experiments.benchmarks.raster_time [--network past] [--threads N] [--write PAGE.md [--append]]``

The fixed point's passes depend on how much the pixels tell each other, so that it is timed with random weights and with
weights trained for ``--steps`` steps on static binarised MNIST, read from ``--data``.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric

from ppvae.datasets import binarised_mnist
from ppvae.distributions import AutoregressiveImage, pixel_output
from ppvae.distributions.autoregressive_image import Way
from ppvae.networks.causal import CAUSAL_NETWORKS

from ..provenance import as_markdown, command_line, environment
from .command import command, started, write_section

__all__ = [
    "HOW",
    "NETWORKS",
    "Measured",
    "build",
    "counted_passes",
    "largest_difference",
    "main",
    "measured",
    "train",
    "verdicts",
]

SHAPE = (1, 28, 28)
SMALL = (1, 8, 17)  # enough for each window, few enough passes for a naive draw
CONTEXT = 32
BATCH = 16  # of the short training
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "past": ("gated, full past", {"causal": "gated"}),
    "2x5": ("gated, window 2 × 5", {"causal": "gated", "window": (2, 5)}),
    "8x17": ("gated, window 8 × 17", {"causal": "gated", "window": (8, 17)}),
    "attention": ("attention", {"causal": "attention"}),
}
CACHED_WINDOW, CACHED_PAST, FIXED_POINT = 200, 100, 20  # naive over it, at least


class Measured(NamedTuple):
    """Seconds of one draw of all images, and the fixed point's passes: calls, and their images over all images."""

    title: str
    weights: str
    threads: int
    cached: float
    fixed_point: float
    naive: float
    calls: int
    passes: float


def build(
    name: str, images: int, shape: tuple[int, int, int] = SHAPE, *, layers: int = 8, channels: int = 32, seed: int = 0
) -> AutoregressiveImage:
    """So many binary images of a network of :data:`NETWORKS`, contexts at random."""
    options = dict(NETWORKS[name][1])
    network = CAUSAL_NETWORKS[options.pop("causal")]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = network(shape, CONTEXT, layers=layers, channels=channels, **options)
        output = pixel_output("bernoulli", built.features, shape[0])
        return AutoregressiveImage(built, output, torch.randn(images, CONTEXT, *shape[1:]))


def train(drawn: AutoregressiveImage, images: torch.Tensor, steps: int) -> None:
    """Maximum likelihood of binary images by Adam, whatever the context, which is noise."""
    adam = torch.optim.Adam([*drawn.network.parameters(), *drawn.output.parameters()], lr=2e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(steps):
            batch = images[torch.randint(len(images), (BATCH,))]
            context = torch.randn(BATCH, *drawn.context.shape[1:], device=batch.device)
            adam.zero_grad()
            (-AutoregressiveImage(drawn.network, drawn.output, context).log_prob(batch).mean()).backward()
            adam.step()


@contextmanager
def counted_passes(network: torch.nn.Module) -> Iterator[list[int]]:
    """How many images each call of the network has."""
    calls: list[int] = []
    hook = network.register_forward_hook(lambda _network, given, _features: calls.append(len(given[0])))
    try:
        yield calls
    finally:
        hook.remove()


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """One run's."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(name: str, weights: str, drawn: AutoregressiveImage, rounds: int, share: int) -> Measured:
    """Cached and naive in turns, medians of ``rounds``, with one draw by the fixed point after the first of them.

    Of a naive draw, ``share`` pixels are timed a round, and stand for the rest.
    """
    device, noise = drawn.context.device, drawn.noise()
    at_once, pixels = len(noise), noise.shape[-2] * noise.shape[-1]
    image = drawn.sample(noise=noise)
    last = drawn.given_prefix(image, pixels - share)  # a pass for each of the last pixels
    times: list[tuple[float, float]] = []
    for turn in range(rounds):
        cached = seconds(lambda: drawn.sample(noise=noise, way="cached", at_once=at_once), device)
        times.append((cached, seconds(lambda: last.sample(noise=noise, way="naive", at_once=at_once), device)))
        if turn == 0:
            with counted_passes(drawn.network) as calls:
                fixed_point = seconds(lambda: drawn.sample(noise=noise, way="fixed_point", at_once=at_once), device)
    cached, naive = np.median(times, 0)
    threads, title, passes = torch.get_num_threads(), NETWORKS[name][0], sum(calls) / at_once
    return Measured(title, weights, threads, cached, fixed_point, naive * pixels / share, len(calls), passes)


@torch.no_grad()
def largest_difference(drawn: AutoregressiveImage, ways: Sequence[Way]) -> float:
    """Between images drawn in float64 from equal noise."""
    network, output = drawn.network.double(), drawn.output.double()
    double = AutoregressiveImage(network, output, drawn.context.double())
    noise = double.noise()
    first, *others = (double.sample(noise=noise, way=way) for way in ways)
    network.float(), output.float()
    return max((first - other).abs().max().item() for other in others)


def verdicts(rows: Sequence[Measured]) -> list[str]:
    """One line for each target: held or missed, with its number."""
    lines = []
    for row in rows:
        where = f"{row.title}, {row.weights} weights, {_threads(row.threads)}"
        cached = CACHED_WINDOW if "window" in row.title else CACHED_PAST
        for way, took, least in (("cached", row.cached, cached), ("fixed point", row.fixed_point, FIXED_POINT)):
            word = "held" if row.naive / took >= least else "MISSED"
            lines.append(f"{word}: {where}: naive over {way} {row.naive / took:.0f}, target ≥ {least}")
    return lines


TABLE = """\
| network | weights | threads | cached, s | fixed point, s | its passes: calls (of all images) | naive, s | \
naive over cached | naive over fixed point |
|---|---|---:|---:|---:|---:|---:|---:|---:|"""


def line(row: Measured) -> str:
    """Of the page's table."""
    passes = f"{row.calls} ({row.passes:.1f})"
    numbers = [f"{row.cached:.2f}", f"{row.fixed_point:.2f}", passes, f"{row.naive:.0f}"]
    ratios = [f"{row.naive / row.cached:.0f}", f"{row.naive / row.fixed_point:.0f}"]
    return f"| {' | '.join([row.title, row.weights, str(row.threads), *numbers, *ratios])} |"


def speeds(name: str, sizes: Sequence[int], device: torch.device) -> list[float]:
    """Images a second by the device's own way at each batch size, random weights."""
    found = []
    for size in sizes:
        drawn = _to(build(name, size), device)
        found.append(size / min(seconds(drawn.sample, device) for _ in range(1 if size > 64 else 3)))
    return found


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _to(drawn: AutoregressiveImage, device: torch.device) -> AutoregressiveImage:
    network, output = drawn.network.to(device), drawn.output.to(device)
    return AutoregressiveImage(network, output, drawn.context.to(device))


HOW = """\
# Time of drawing pixel after pixel

Binary images of 28 × 28, 8 layers of 32 features, context of 32 maps of noise. Cached: features once a row and once a
pixel. Fixed point: passes over all pixels until no image changes; images that stay as they are leave, so that the
calls are more than the passes of all images that they amount to. Naive: a pass a pixel, timed for some pixels and
multiplied; cached and naive take turns, medians. Equal noise for all. Images a second: cached on a CPU, by the fixed
point elsewhere."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.raster_time", __doc__, steps=80, rounds=3)
    parser.add_argument("--network", choices=NETWORKS, default="past")
    parser.add_argument("--images", type=int, default=64, help="drawn at a time")
    parser.add_argument("--share", type=int, default=2, help="pixels of a naive draw that are timed, a round")
    parser.add_argument("--sizes", nargs="*", type=int, default=[1, 64, 1024], help="for images a second")
    parser.add_argument("--data", default="data", help="folder of static binarised MNIST")
    parser.add_argument("--append", action="store_true", help="add a section to the page")
    chosen, fabric, load = started(parser, arguments)
    page = section(chosen, fabric, sorted({1, torch.get_num_threads()}) if chosen.threads is None else [chosen.threads])
    facts = {
        "command": f"`{command_line('experiments.benchmarks.raster_time')}`",
        **environment(seed=0),
        "device": str(fabric.device),
        "load average before and after": f"{load:.2f}, {os.getloadavg()[0]:.2f}",
    }
    page = f"{page}\n\n{as_markdown(facts)}"
    print(page)
    if chosen.write:
        write_section(chosen.write, HOW, page, append=chosen.append)


def section(chosen: argparse.Namespace, fabric: Fabric, threads: Sequence[int]) -> str:
    """One network's heading, table, verdicts and speeds, with each number of threads."""
    name, device = chosen.network, fabric.device
    drawn, small = (_to(build(name, *sizes), device) for sizes in ((chosen.images,), (4, SMALL)))
    rows = []
    for weights in ("random", "trained"):
        if weights == "trained":
            digits = binarised_mnist("train", root=chosen.data, size=2000).observed().to(device)
            train(drawn, digits, chosen.steps)
        for count in threads:
            torch.set_num_threads(count)
            rows.append(measured(name, weights, drawn, chosen.rounds, chosen.share))
    few = AutoregressiveImage(drawn.network, drawn.output, drawn.context[:8])
    differences = (
        largest_difference(few, ("cached", "fixed_point")),
        largest_difference(small, ("naive", "cached", "fixed_point")),
    )
    note = (
        f"{chosen.images} images at a time; {chosen.rounds} rounds, {chosen.share} naive passes in each; trained for "
        f"{chosen.steps} steps of {BATCH} images. Largest difference of images in float64 of equal noise, cached and "
        f"fixed point at full size with trained weights, and naive as well at 8 × 17: {max(differences):g}."
    )
    lines = [f"- {verdict}" for verdict in verdicts(rows)]
    for count in threads if chosen.sizes else ():
        torch.set_num_threads(count)
        found = zip(chosen.sizes, speeds(name, chosen.sizes, device), strict=True)
        each = ", ".join(f"{speed:.1f} with {size} at a time" for size, speed in found)
        lines.append(f"- images a second, random weights, {_threads(count)}: {each}")
    parts = [f"## {NETWORKS[name][0]}", note, "\n".join([TABLE, *map(line, rows)]), "\n".join(lines)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
