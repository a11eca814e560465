"""Time and memory of evaluation: log p(x), k̂ and the export of a posterior, over bare passes of the encoder.

``python -m experiments.benchmarks.evaluation_time [--root DATA] [--share S] [--write PAGE.md]``

An untrained MLP pair on static binarised MNIST, its images repeated as often as needed; each part runs in a process of
its own, whose largest memory is what is told.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import nn

from guides import MeanFieldNormal
from ppvae import VAE, from_pyro_svi, log_marginal
from ppvae.datasets import ImageDataset, binarised_mnist
from ppvae.datasets.images import RenderedImages
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import NormalPrior

from ..provenance import as_markdown, command_line, environment

__all__ = ["main"]

HIDDEN = (200, 200)
DRAWS = 8
BATCH = 65_536  # images × draws at a time
LIMITS = {
    "log p(x), 5 000 samples, 1 000 images": "≤ 120 s",
    "k̂ and log p(x), 1 000 draws, 10 000 images": "≤ 600 s",
    "export of 1 000 000 images, 8 draws": "≤ 1.5 × the encoder's passes, ≤ 2 GiB",
}


def pair(latents: int, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    """MLP 784-200-200-K and back."""
    torch.manual_seed(0)
    decoder = MLPDecoder(latents, shape, HIDDEN)
    return VAE(NormalPrior(latents), BernoulliLikelihood(decoder)), MeanFieldNormal(MLPEncoder(shape, HIDDEN), latents)


def repeated(root: str, count: int) -> ImageDataset:
    """So many images, those of the training split over and over, none of them copied."""
    base = binarised_mnist("train", root=root)
    images = RenderedImages(lambda at: base.stored(at % len(base)), torch.arange(count), base.image_shape, binary=True)
    return ImageDataset(images, name="static binarised mnist train, repeated")


def importance(root: str, images: int, samples: int) -> dict[str, float]:
    """Seconds of log p(x) with k̂, 50 latents."""
    data = repeated(root, images)
    model, guide = pair(50, data.image_shape)
    return {"seconds": _seconds(lambda: log_marginal(model, guide, data, samples))}


def export(root: str, images: int, options: dict[str, Any]) -> dict[str, float]:
    """Seconds of the encoder's passes, twice, and of an export between them; 16 latents."""
    data = repeated(root, images)
    model, guide = pair(16, data.image_shape)
    batch = BATCH // DRAWS

    def passes() -> None:
        with torch.no_grad(), pyro.validation_enabled(False):
            for start in range(0, images, batch):
                guide(data.observed(slice(start, start + batch)))

    before = _seconds(passes)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "posterior.zarr"
        seconds = _seconds(lambda: from_pyro_svi(model, guide, data, DRAWS, batch_size=BATCH, store=store, **options))
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file()) / 2**20
    return {"seconds": seconds, "encoder": (before + _seconds(passes)) / 2, "MiB on disk": size}


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _alone(function: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    found = function(*arguments)
    return {**found, "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def measured(function: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    """What ``function`` measured in a process of its own, and that process's largest memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_alone, function, *arguments).result()


def table(root: str, share: float) -> str:
    """Markdown: each part, its time, memory and target, with ``share`` of the images."""
    few, many, most = (max(1, round(share * count)) for count in (1_000, 10_000, 1_000_000))
    lines = ["| what | seconds | over the encoder's passes | peak memory (GiB) | on disk (MiB) | target |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    names = list(LIMITS)
    for name, count, samples in ((names[0], few, 5_000), (names[1], many, 1_000)):
        lines.append(_row(name, measured(importance, root, count, samples), LIMITS[name], share))
    bare = {"log_likelihood": False, "observed_data": False}
    for words, options in (("posterior, moments and KL", bare), ("with log p(x given z)", {"observed_data": False})):
        limit = LIMITS[names[2]] if options is bare else "none"
        lines.append(_row(f"{names[2]}: {words}", measured(export, root, most, options), limit, share))
    return "\n".join(lines)


def _row(name: str, found: dict[str, float], limit: str, share: float) -> str:
    ratio = f"{found['seconds'] / found['encoder']:.2f}" if "encoder" in found else ""
    disk = f"{found['MiB on disk']:.0f}" if "MiB on disk" in found else ""
    part = "" if share == 1 else f" ({share:g} of the images)"
    return f"| {name}{part} | {found['seconds']:.1f} | {ratio} | {found['GiB']:.2f} | {disk} | {limit} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.evaluation_time", description=__doc__)
    parser.add_argument("--root", default="data", help="folder of the .amat files")
    parser.add_argument("--share", type=float, default=1.0, help="share of the images, for a quick look")
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    found = table(chosen.root, chosen.share)
    facts = {
        "command": f"`{command_line('experiments.benchmarks.evaluation_time')}`",
        **environment(seed=0),
        "threads": str(torch.get_num_threads()),
        "load average before and after": f"{load:.2f}, {os.getloadavg()[0]:.2f}",
    }
    page = "\n\n".join(
        ["# Time and memory of evaluation", __doc__.split("\n\n")[-1].strip(), found, as_markdown(facts)]
    )
    print(page)
    if chosen.write:
        chosen.write.write_text(page + "\n")


if __name__ == "__main__":
    main()
