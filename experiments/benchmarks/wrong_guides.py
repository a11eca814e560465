"""Which test names which fault: guides that are wrong in one known way, and a right one.

``python -m experiments.benchmarks.wrong_guides [--seeds N] [--write PAGE.md]``

A linear pair with normal noise, whose posterior is known: z ~ N(0, I), x given z ~ N(Wz, σ²I). The guides: exact; half
as wide; means off by one posterior standard deviation; collapsed to the prior; factorised where the posterior is not.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch

from ppvae import examine
from ppvae.diagnostics import diagnose

from ..provenance import as_markdown, command_line, environment

__all__ = ["GUIDES", "draw_images", "guide_with", "main", "model", "table"]

LOADINGS = torch.tensor(
    [[1, 0.8, 0], [0.5, 0.6, -0.3], [0, 0.4, 0.9], [-0.7, 0, 0.6], [0.2, 0.9, 0.5], [0, -0.4, 0.7]],
    dtype=torch.float64,
)
PIXELS, LATENTS = LOADINGS.shape
VARIANCE = 0.3
PRECISION = torch.eye(LATENTS).double() + LOADINGS.T @ LOADINGS / VARIANCE
COVARIANCE = PRECISION.inverse()
READOUT = COVARIANCE @ LOADINGS.T / VARIANCE
TRIANGLE = torch.linalg.cholesky(COVARIANCE)
IMAGES = 300


def model(images: torch.Tensor) -> None:
    """p(z) p(x | z)."""
    with pyro.plate("image", len(images), dim=-1):
        prior = dist.Normal(torch.zeros(LATENTS).double(), 1.0).to_event(1)
        z = pyro.sample("z", prior, infer=_named("latent"))
        pixels = dist.Normal((z @ LOADINGS.T).unflatten(-1, (1, 2, 3)), math.sqrt(VARIANCE)).to_event(3)
        pyro.sample("x", pixels, obs=images, infer=_named("channel", "row", "column"))


def _named(*dims: str) -> Any:
    """A site's own dims, which Pyro carries along and has no type for."""
    return {"event_dims": list(dims)}


def guide_with(readout: torch.Tensor, triangle: torch.Tensor, shift: torch.Tensor | float = 0.0) -> Callable:
    """q(z | x) = N(readout · x + shift, triangle triangleᵀ)."""

    def guide(images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("image", len(images), dim=-1):
            q = dist.MultivariateNormal(images.flatten(1) @ readout.T + shift, scale_tril=triangle)
            return pyro.sample("z", q, infer=_named("latent"))

    return guide


GUIDES: dict[str, Callable] = {
    "exact": guide_with(READOUT, TRIANGLE),
    "too narrow (sd × ½)": guide_with(READOUT, 0.5 * TRIANGLE),
    "shifted (+1 sd)": guide_with(READOUT, TRIANGLE, COVARIANCE.diagonal().sqrt()),
    "collapsed (q = p)": guide_with(torch.zeros_like(READOUT), torch.eye(LATENTS).double()),
    "mean field": guide_with(READOUT, PRECISION.diagonal().rsqrt().diag()),
}


def draw_images(count: int, seed: int) -> torch.Tensor:
    """Images from the model, (image, 1, 2, 3), of a seed that no pair draws with."""
    generator = torch.Generator().manual_seed(9_000 + seed)
    z, noise = (torch.randn(count, n, generator=generator, dtype=torch.float64) for n in (LATENTS, PIXELS))
    return (z @ LOADINGS.T + math.sqrt(VARIANCE) * noise).unflatten(-1, (1, 2, 3))


def table(seeds: int) -> str:
    """Markdown: the verdicts of each test on each guide, over the seeds."""
    verdicts: dict[str, dict[str, Counter]] = {}
    for name, guide in GUIDES.items():
        for seed in range(seeds):
            found = diagnose(examine(model, guide, draw_images(IMAGES, seed), batch_size=20_000, seed=10 * seed))
            for test, verdict in zip(found["test"].values, found["verdict"].values, strict=True):
                verdicts.setdefault(str(test), {}).setdefault(name, Counter())[str(verdict)] += 1
    lines = [f"| test | {' | '.join(GUIDES)} |", "|---" * (1 + len(GUIDES)) + "|"]
    lines += [f"| {test} | {' | '.join(_said(row[name]) for name in GUIDES)} |" for test, row in verdicts.items()]
    return "\n".join(lines)


def _said(counts: Counter) -> str:
    """`pass`, or `fail 4, warn 1` where the seeds differ."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.wrong_guides", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    if chosen.seeds < 1:
        parser.error("--seeds must be at least 1")
    found = table(chosen.seeds)
    facts = {
        "command": f"`{command_line('experiments.benchmarks.wrong_guides')}`",
        **environment(seed=list(range(chosen.seeds))),
    }
    how = f"{__doc__.split(chr(10) * 2)[-1].strip()} {IMAGES} images a seed; one verdict where all seeds agree."
    page = "\n\n".join(["# Verdicts on wrong guides", how, found, as_markdown(facts)])
    print(page)
    if chosen.write:
        chosen.write.write_text(page + "\n")


if __name__ == "__main__":
    main()
