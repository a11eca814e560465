"""Codes of a table of counts: do they collapse, and do they explain rows that were held apart?

``python -m experiments.benchmarks.counts [--epochs 3 10 30 60] [--seeds 0 1] [--write PAGE.md]``

The table is drawn here: negative binomial counts of four factors and of each row's size, as of cells in which more or
fewer molecules were caught. Held against it: each column's own distribution, and probabilistic PCA of log(1 + x).
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import optimize, stats
from sklearn.linear_model import LinearRegression

from guides import MeanFieldNormal
from ppvae import VAE, fit, log_marginal
from ppvae.datasets import ImageDataset, rows
from ppvae.likelihoods import CountLikelihood
from ppvae.likelihoods.counts import Counts
from ppvae.networks import MLPDecoder, MLPEncoder, RowEncoder
from ppvae.priors import NormalPrior

from ..provenance import as_markdown, command_line, environment
from ..report import Table
from .ppca import PPCA, fit_ppca

__all__ = ["counts_table", "main"]

ROWS, TEST, COLUMNS, FACTORS, TOTAL = 3000, 1000, 60, 4, 4.0
LATENTS, HIDDEN = 10, (128, 128)
COMPONENTS = (4, 5, 8, 12, 16)
MODELS = ("negative_binomial", "zero_inflated_negative_binomial", "poisson")
SAMPLES, NOISES = 500, 20
STARTS = {"zero": False, "the column means": True}


class Drawn(NamedTuple):
    """Counts and their means (row, column), and what they are made of: the factors and log size (row, factor)."""

    counts: np.ndarray
    means: np.ndarray
    causes: np.ndarray


class Score(NamedTuple):
    """Of rows held apart, nats per row: −log p(x) and −ELBO; latents whose KL is above 0.1, rate, and R² of the factors
    and of the log size from mean codes; seconds."""

    negative_log_p: float
    negative_elbo: float | None = None
    latents: int | None = None
    rate: float | None = None
    explained: float | None = None
    seconds: float | None = None


def counts_table(count: int, seed: int) -> Drawn:
    """Negative binomial of r = 4 and mean l·exp(b + Wz): log l and entries of W of deviation ½, b about 1 ± 1."""
    random = np.random.default_rng(seed)
    z, weight = random.normal(size=(count, FACTORS)), 0.5 * random.normal(size=(FACTORS, COLUMNS))
    base, log_size = 1 + random.normal(size=COLUMNS), 0.5 * random.normal(size=(count, 1))
    means = np.exp(log_size + base + z @ weight)
    counts = random.poisson(random.gamma(TOTAL, means / TOTAL)).astype(float)
    return Drawn(counts, means, np.hstack([z, log_size]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.counts", description=__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=[3, 10, 30, 60])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--counts", nargs="+", default=["negative_binomial", "zero_inflated_negative_binomial", "poisson"]
    )
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    lines = []
    for seed in chosen.seeds:
        for method, score in _scores(counts_table(ROWS + TEST, seed), chosen, seed):
            lines.append((method, seed, *score))
            print(*lines[-1], flush=True)
    page = _page(lines, chosen)
    print(page)
    if chosen.write:
        chosen.write.write_text(page)


def _scores(drawn: Drawn, chosen: argparse.Namespace, seed: int) -> Iterator[tuple[str, Score]]:
    seen, apart = drawn.counts[:ROWS], drawn.counts[ROWS:]
    means = drawn.means[ROWS:]
    yield "given the true means", Score(-_log_p(apart, TOTAL, means).sum(1).mean())
    yield "each column alone", Score(-_columns_alone(seen, apart).mean())
    bound, components = _best_ppca(seen, apart, np.random.default_rng([seed, 1]))
    yield f"PPCA of log(1 + x), {components} components", Score(-bound)
    data, test = (rows(part, kind="counts") for part in (seen, apart))
    for counts in chosen.counts:
        for start, at_means in STARTS.items():
            for epochs in chosen.epochs:
                score = _trained(data, test, drawn.causes[ROWS:], counts, epochs, seed, at_means=at_means)
                yield f"VAE, {counts}, from {start}, {epochs} epochs", score


def _log_p(x: np.ndarray, total: np.ndarray | float, mean: np.ndarray) -> np.ndarray:
    return stats.nbinom.logpmf(x, total, total / (total + mean))


def _columns_alone(seen: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """log p of each row under a negative binomial for each column, of greatest likelihood: no row tells of another."""
    mean = seen.mean(0)
    found = [
        optimize.minimize_scalar(lambda log_r, k=k: -_log_p(seen[:, k], np.exp(log_r), mean[k]).sum(), (-2.0, 3.0)).x
        for k in range(seen.shape[1])
    ]
    return _log_p(apart, np.exp(found), mean).sum(1)


def _best_ppca(seen: np.ndarray, apart: np.ndarray, random: np.random.Generator) -> tuple[float, int]:
    """The highest of a few numbers of components: a lower bound on log p(x), as log p of x and uniform noise is."""

    def bound(model: PPCA) -> float:
        return float(np.mean([_density(model, apart + random.random(apart.shape)).mean() for _ in range(NOISES)]))

    models = {k: fit_ppca(np.log1p(seen + random.random(seen.shape)), k) for k in COMPONENTS}
    bounds = {k: bound(model) for k, model in models.items()}
    best = max(bounds, key=bounds.__getitem__)
    return bounds[best], best


def _density(model: PPCA, x: np.ndarray) -> np.ndarray:
    covariance = model.weight @ model.weight.T + model.variance * np.eye(len(model.mean))
    y = np.log1p(x)
    return stats.multivariate_normal(model.mean, covariance).logpdf(y) - y.sum(1)  # dy/dx = e^−y


def _trained(
    data: ImageDataset,
    test: ImageDataset,
    causes: np.ndarray,
    counts: Counts,
    epochs: int,
    seed: int,
    *,
    at_means: bool,
) -> Score:
    torch.manual_seed(seed)
    maps = CountLikelihood.decoder_maps(1, counts=counts)
    likelihood = CountLikelihood(MLPDecoder(LATENTS, data.image_shape, HIDDEN, maps=maps), counts)
    if at_means:
        likelihood.start_at(data.observed())
    encoder = RowEncoder(data.image_shape, partial(MLPEncoder, hidden=HIDDEN), kind="counts")
    model, guide = VAE(NormalPrior(LATENTS), likelihood), MeanFieldNormal(encoder, LATENTS)
    begun = time.perf_counter()
    history = fit(model, guide, data, epochs=epochs, batch_size=64, seed=seed, progress=False)
    seconds = time.perf_counter() - begun
    found = log_marginal(model, guide, test, SAMPLES, seed=seed, progress=False)
    with torch.no_grad():
        codes = guide.posterior(test.observed()).mean.numpy()
    kl = history["kl"].values[-1]
    return Score(
        -float(found["log_marginal"].mean()),
        -float(found["elbo"].mean()),
        int((kl > 0.1).sum()),
        float(kl.sum()),
        LinearRegression().fit(codes[::2], causes[::2]).score(codes[1::2], causes[1::2]),
        seconds,
    )


def _page(lines: Sequence[tuple], chosen: argparse.Namespace) -> str:
    facts = {"command": command_line("experiments.benchmarks.counts"), **environment(chosen.seeds)}
    columns = ("method", "seed", "−log p(x)", "−ELBO", "latents used", "rate", "R² of the causes", "seconds")
    formats = ("", "", ".1f", ".1f", "d", ".2f", ".2f", ".0f")
    shown = [
        tuple(None if value is None else format(value, form) for value, form in zip(line, formats, strict=True))
        for line in lines
    ]
    how = (
        f"{ROWS} rows of {COLUMNS} columns to train on, {TEST} held apart, of which all numbers are, nats per row. "
        f"{__doc__.split(chr(10) * 2)[-1].strip()} VAE: {LATENTS} latents, two hidden layers of {HIDDEN[0]}, "
        f"Adam 1e-3, batches of 64; −log p(x) by importance sampling, {SAMPLES} draws a row; a latent is used where "
        "its KL is above 0.1 nats; R² is that of the four factors and the log size, linear in the mean codes. PPCA: an "
        f"upper bound of −log p(x), of x and uniform noise, for these rows the best of "
        f"{', '.join(map(str, COMPONENTS))} components."
    )
    table = Table("", columns, shown).as_markdown()
    return "\n".join(["# Tables of counts", "", as_markdown(facts), "", how.replace("\n", " "), "", table])


if __name__ == "__main__":
    main()
