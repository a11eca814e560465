"""Time of a training step with each objective, prior and guide, over that of the plain mean-field VAE.

``python -m experiments.benchmarks.swaps [--steps N] [--rounds R] [--write PAGE.md]``

All of ours, compiled, on one MLP and one batch, in turns within one process; ratios are taken within a round.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

import guides
from ppvae import (
    VAE,
    Annealed,
    BetaELBO,
    Capacity,
    FreeBits,
    ImportanceWeighted,
    Objective,
    SoftFreeBits,
    TotalCorrelation,
    priors,
)
from ppvae.likelihoods import BernoulliLikelihood, NormalLikelihood

from .candidates import Candidate, Way, ours
from .command import command, started
from .setups import LATENTS, MLP, Setup
from .step_time import Times, milliseconds, provenance

__all__ = ["Swap", "main", "swapped", "swaps", "table"]

PLAIN = "plain mean-field VAE"
LIMIT, SAMPLES_LIMIT = 1.3, 1.1
LIMITS = {"autoregressive flow": 1.15}  # where less than a third more is wanted

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "annealed": lambda: Annealed(objective=BetaELBO()),
    "free bits": FreeBits,
    "soft free bits": SoftFreeBits,
    "capacity": Capacity,
    "total correlation": lambda: TotalCorrelation(images=60_000),
    "importance weighted, K = 5": lambda: ImportanceWeighted(samples=5),
    "importance weighted, K = 50": lambda: ImportanceWeighted(samples=50),
    "doubly reparameterised, K = 5": lambda: ImportanceWeighted(samples=5, doubly_reparameterised=True),
}
PRIORS: dict[str, Callable[..., nn.Module]] = {
    "mixture of 10": lambda *_: priors.MixturePrior(LATENTS),
    "VampPrior of 50": lambda shape, guide: priors.VampPrior(LATENTS, shape, guide=guide),
    "autoregressive flow": lambda *_: priors.AutoregressiveFlowPrior(LATENTS),
}
GUIDES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "full covariance": lambda encoder: guides.FullCovarianceNormal(encoder, LATENTS),
    "inverse autoregressive": lambda encoder: guides.InverseAutoregressiveGuide(encoder, LATENTS),
    "mixture of 4 encoders": lambda encoder: guides.MixtureOfEncoders(encoder, LATENTS),
    "Normal-Gamma": lambda encoder: guides.NormalGammaGuide(encoder, LATENTS),
    "Student-t": lambda encoder: guides.StudentTGuide(encoder, LATENTS),
}
MATCHING: dict[str, Callable[[int], nn.Module]] = {
    "Normal-Gamma": priors.NormalGammaPrior,
    "Student-t": priors.StudentTPrior,
}


class Swap(NamedTuple):
    """The plain VAE with one ``part`` of it exchanged, and what it is trained on."""

    part: str
    name: str
    pair: tuple[nn.Module, nn.Module]
    objective: Objective


def swapped(setup: Setup) -> Iterator[Swap]:
    """The plain VAE, then each swap of one part of it."""
    yield Swap("", PLAIN, setup.pair("VAE"), BetaELBO())
    for name, objective in OBJECTIVES.items():
        yield Swap("objective", name, setup.pair("VAE"), objective())
    for name, prior in PRIORS.items():
        model, guide = setup.pair("VAE")
        yield Swap(
            "prior", name, (VAE(prior(setup.image_shape, guide), model.get_submodule("likelihood")), guide), BetaELBO()
        )
    for name, made in GUIDES.items():
        matching = MATCHING.get(name, priors.NormalPrior)(LATENTS)
        pair = VAE(matching, _likelihood(setup)), made(setup.encoder(setup.image_shape))
        yield Swap("guide", name, pair, BetaELBO())


def swaps(setup: Setup, fabric: Fabric, way: Way = "compiled") -> Iterator[Candidate]:
    """Each of :func:`swapped`, ready to train; ``model`` says which part is another."""
    images = setup.images().to(fabric.device)
    for part, name, pair, objective in swapped(setup):
        yield Candidate(part, name, ours(pair, objective, images, fabric, way))


def _likelihood(setup: Setup) -> nn.Module:
    decoder = setup.decoder(LATENTS, setup.image_shape)
    return BernoulliLikelihood(decoder) if setup.binary else NormalLikelihood(decoder, scale=0.02)


def table(times: Times) -> str:
    """Markdown: median time, its ratio to the plain VAE's, and whether the target holds."""
    lines = [
        "| part | swap | ms a step: median (min-max) | over the plain VAE: median (quartiles) | target |",
        "|---|---|---:|---:|---|",
    ]
    plain = times["", PLAIN]
    for (part, name), row in times.items():
        ratio, samples = row / plain, _samples(name)
        low, median, high = np.percentile(ratio, [25, 50, 75])
        limit, share = (LIMITS.get(name, LIMIT), median) if samples is None else (SAMPLES_LIMIT, median / samples)
        held = f"{'held' if share <= limit else 'MISSED'}: " + (
            f"≤ {limit}" if samples is None else f"{share:.2f} a sample, ≤ {limit}"
        )
        spread = f"{np.median(row):.2f} ({row.min():.2f}-{row.max():.2f})"
        verdict = "" if name == PLAIN else held
        lines.append(f"| {part} | {name} | {spread} | {median:.2f} ({low:.2f}-{high:.2f}) | {verdict} |")
    return "\n".join(lines)


def _samples(name: str) -> int | None:
    """K of a K-sample bound."""
    return int(name.rpartition("K = ")[2]) if "K = " in name else None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = command("experiments.benchmarks.swaps", __doc__, steps=20, rounds=15)
    chosen, fabric, load = started(parser, arguments)
    torch._dynamo.config.recompile_limit = 64  # one graph for each candidate, none of them recompiled
    found = table(milliseconds(list(swaps(MLP, fabric)), chosen.steps, chosen.rounds, fabric.device))
    facts = provenance("experiments.benchmarks.swaps", fabric, load)
    title = f"{MLP.title}. {chosen.rounds} rounds of {chosen.steps} steps each, all compiled, in turns."
    page = "\n\n".join(["# Step time of each swap", title, found, facts])
    print(page)
    if chosen.write:
        chosen.write.write_text(page + "\n")


if __name__ == "__main__":
    main()
