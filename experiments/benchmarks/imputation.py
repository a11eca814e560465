"""Missing entries of a table: the mean of the column, probabilistic PCA and a VAE.

``python -m experiments.benchmarks.imputation [--rows N] [--epochs E] [--seeds 0 1] [--write PAGE.md]``

Both tables are drawn here: one is linear and normal, where PCA is right and no method can beat it but by chance; one is
of spectra whose lines move, which no few components hold. Entries are hidden at random, the errors are over those.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from scipy import stats

from guides import MeanFieldNormal
from ppvae import VAE, fit, impute
from ppvae.datasets import ImageDataset, Rows, rows
from ppvae.likelihoods import RealLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder, RowEncoder
from ppvae.priors import NormalPrior
from ppvae.svi import Recipe

from ..provenance import as_markdown, command_line, environment
from ..report import Table
from .ppca import PPCA, fit_ppca

__all__ = ["linear_table", "main", "spectra_table"]

COLUMNS, MISSING, INTERVAL = 120, 0.1, 0.9
LATENTS, HIDDEN = 12, (256, 256)
COMPONENTS = (8, 16, 24)
DRAWS = 100


class Drawn(NamedTuple):
    """A whole table, and the standard deviation of the noise in it, which no method can tell."""

    values: np.ndarray
    noise: float


class Score(NamedTuple):
    """Of the hidden entries: error in the columns' deviations, share in the interval and its mean width; seconds, and
    the median row's effective draws."""

    rmse: float
    coverage: float | None
    width: float | None
    seconds: float
    effective: float | None = None


def linear_table(count: int, seed: int) -> Drawn:
    """x = W z + ε: ten latents, noise of standard deviation 1 beside signals of √10."""
    random = np.random.default_rng(seed)
    weight = random.normal(size=(10, COLUMNS))
    return Drawn(random.normal(size=(count, 10)) @ weight + random.normal(size=(count, COLUMNS)), 1.0)


def spectra_table(count: int, seed: int) -> Drawn:
    """Two lines on a sloping continuum over 120 wavelengths, of six latents: each line's place, the first one's width,
    both heights and the slope; noise of standard deviation 0.05."""
    random = np.random.default_rng(seed)
    at = np.linspace(0, 1, COLUMNS)
    z = random.normal(size=(6, count, 1))
    first = 0.3 + 0.12 * np.tanh(z[0])
    second = 0.7 + 0.12 * np.tanh(z[1])
    width = 0.03 * np.exp(0.3 * z[2])
    lines = np.exp(0.3 * z[3]) * np.exp(-0.5 * ((at - first) / width) ** 2)
    lines = lines + np.exp(0.3 * z[4]) * np.exp(-0.5 * ((at - second) / 0.04) ** 2)
    return Drawn(lines + 0.3 * z[5] * (at - 0.5) + 0.05 * random.normal(size=(count, COLUMNS)), 0.05)


TABLES: dict[str, Callable[[int, int], Drawn]] = {"linear, normal": linear_table, "spectra": spectra_table}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.imputation", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--write", type=Path, help="also write the page to this file")
    chosen = parser.parse_args(arguments)
    lines = []
    for name in chosen.tables:
        for seed in chosen.seeds:
            for method, score in _scores(TABLES[name](chosen.rows, seed), chosen.epochs, seed):
                lines.append((name, method, seed, *score))
                print(*lines[-1], flush=True)
    page = _page(lines, chosen)
    print(page)
    if chosen.write:
        chosen.write.write_text(page)


def _scores(drawn: Drawn, epochs: int, seed: int) -> Iterator[tuple[str, Score]]:
    random = np.random.default_rng([seed, 1])
    gaps = random.random(drawn.values.shape) < MISSING
    table = np.where(gaps, np.nan, drawn.values)
    data = rows(table)
    scaling = cast(Rows, data.images).scaling
    units, undone = scaling.scale, scaling.undone
    center = scaling.center * np.ones_like(table)

    def score(mean: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] | None, begun: float) -> Score:
        error = ((mean - drawn.values) / units)[gaps]
        taken = time.perf_counter() - begun
        if bounds is None:
            return Score(float(np.sqrt(np.mean(error**2))), None, None, taken)
        low, high = bounds
        inside = ((low <= drawn.values) & (drawn.values <= high))[gaps].mean()
        width = ((high - low) / units)[gaps].mean()
        return Score(float(np.sqrt(np.mean(error**2))), float(inside), float(width), taken)

    yield "the noise alone", Score(float(np.sqrt(np.mean((drawn.noise / units) ** 2))), None, None, 0.0)
    yield "column mean", score(center, None, time.perf_counter())
    begun = time.perf_counter()
    model, components = _best_ppca((table - scaling.center) / units, random)
    mean, deviation = model.imputed((table - scaling.center) / units)
    half = stats.norm.ppf((1 + INTERVAL) / 2) * deviation
    yield f"PPCA, {components} components", score(undone(mean), (undone(mean - half), undone(mean + half)), begun)
    begun = time.perf_counter()
    trained = _trained(data, epochs, seed)
    for weights in ("guide", "importance"):
        found = impute(*trained, data, DRAWS, interval=INTERVAL, weights=weights, batch_size=20_000, seed=seed)
        bounds = found["lower"].values, found["upper"].values
        measured = score(found["mean"].values, bounds, begun)
        yield f"VAE, weights={weights}", measured._replace(effective=float(found["effective"].median()))


def _best_ppca(table: np.ndarray, random: np.random.Generator) -> tuple[PPCA, int]:
    """As many components as impute a further fiftieth of the entries best, then fitted to all."""
    hidden = (random.random(table.shape) < 0.02) & ~np.isnan(table)
    part = np.where(hidden, np.nan, table)

    def error(components: int) -> float:
        found, _ = fit_ppca(part, components).imputed(part)
        return float(np.mean((found - table)[hidden] ** 2))

    best = min(COMPONENTS, key=error)
    return fit_ppca(table, best), best


def _trained(data: ImageDataset, epochs: int, seed: int) -> tuple[VAE, MeanFieldNormal]:
    torch.manual_seed(seed)
    likelihood = RealLikelihood(MLPDecoder(LATENTS, data.image_shape, HIDDEN))
    encoder = RowEncoder(data.image_shape, partial(MLPEncoder, hidden=HIDDEN))
    model, guide = VAE(NormalPrior(LATENTS), likelihood), MeanFieldNormal(encoder, LATENTS)
    recipe = Recipe(learning_rate=1e-3, schedule="cosine", warmup=100)
    fit(model, guide, data, recipe=recipe, epochs=epochs, batch_size=64, seed=seed, progress=False)
    return model, guide


def _page(lines: Sequence[tuple], chosen: argparse.Namespace) -> str:
    facts = {"command": command_line("experiments.benchmarks.imputation"), **environment(chosen.seeds)}
    interval = f"in the {100 * INTERVAL:g} % interval"
    columns = ("table", "method", "seed", "RMSE", interval, "its width", "seconds", "effective draws")
    shown = [
        (
            *line[:3],
            *(None if value is None else f"{value:.3f}" for value in line[3:6]),
            f"{line[6]:.0f}",
            None if line[7] is None else f"{line[7]:.0f}",
        )
        for line in lines
    ]
    table = Table("", columns, shown).as_markdown()
    how = (
        f"{chosen.rows} rows of {COLUMNS} columns. {__doc__.split(chr(10) * 2)[-1].strip()} "
        f"{100 * MISSING:g} % of the entries are hidden, from all methods alike; errors and widths are in the columns' "
        "standard deviations. PPCA: EM, components by the error of a further 2 % of the entries, of "
        f"{COMPONENTS}. VAE: {LATENTS} latents, two hidden layers of {HIDDEN[0]}, a σ for each column, {chosen.epochs} "
        f"epochs of Adam with a cosine; {DRAWS} draws a row. Seconds are of fitting, with the search of components, "
        "and imputing, of the VAE both one after the other.\n"
    )
    return "\n".join(["# Missing entries of a table", "", as_markdown(facts), "", how.replace("\n", " "), "", table])


if __name__ == "__main__":
    main()
