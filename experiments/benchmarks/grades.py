"""Do the diagnostics tell good models from bad ones, on drawn sprites and on real images?

``python -m experiments.benchmarks.grades [--data NAME …] [--models NAME …] [--seeds 0 1] [--write TABLE.csv]``

On each data set good models, two guides beside each other, and models that are bad in one known way. Where the guide is
too narrow or too wide the model is the good one, and its codes' deviations are multiplied after the training. A run
that is whole in the folder is examined again without training.
"""

import argparse
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import hydra
import pandas as pd
import torch
from omegaconf import DictConfig

from guides import MeanFieldNormal
from ppvae.diagnostics.grades import SCALES

from ..assemble import Parts, assemble
from ..causes import causes
from ..diagnostics_page import examined
from ..evaluation import evaluate
from ..findings import reconstruction_error
from ..reached import ALONE, COLUMNS, TABLE, Reached
from ..report import Table
from ..resolvers import register_resolvers
from ..selecting import selected
from ..training import train

__all__ = ["BAD", "DATA", "GOOD", "good_ranges", "main", "models", "told_apart", "widened", "words_of"]

CONFIGURATIONS = Path(__file__).parents[1] / "conf"
COMMON = (
    *("prior=normal", "guide=mean_field", "trainer.stopping=null", "trainer.execution=captured", "validation=null"),
    *("trainer.progress=false", "posterior.images=1000", "posterior.draws=2", "posterior.ablation_images=64"),
)
SURROGATE = ("likelihood=bernoulli", "likelihood.surrogate=true")


class Set(NamedTuple):
    """A data set: the words of its good models, and what is too small a σ there and another family of likelihood."""

    words: Sequence[str]
    narrow: Sequence[str] | None  # None: a likelihood without a scale
    family: Sequence[str]


DATA = {
    "sprites": Set(
        (
            *("data.size=4096", "data.image_size=32", "data.hue=[0.0,0.7]", "data.shapes=[disc]", "data.seed=0"),
            *("network=small_conv", "latents=15", "likelihood=normal_learned"),
            *("trainer.batch_size=32", "trainer.learning_rate=2e-3", "trainer.epochs=30"),
        ),
        ("likelihood=normal", "likelihood.scale=0.005", "trainer.epochs=10"),
        (*SURROGATE, "trainer.epochs=10"),
    ),
    "binarised MNIST": Set(
        (
            *("data=binarised_mnist", "data.seed=0", "network=mlp", "latents=50", "likelihood=bernoulli"),
            *("network.encoder.hidden=[200,200]", "network.decoder.hidden=[200,200]"),
            *("network.encoder.activation=tanh", "network.decoder.activation=tanh"),
            *("trainer.batch_size=100", "trainer.epochs=15"),
        ),
        None,
        ("likelihood=normal_learned",),
    ),
    "grey MNIST": Set(
        (
            *("data=mnist", "data.size=10000", "data.seed=0", "network=mlp", "latents=20"),
            *("likelihood=normal_learned", "trainer.batch_size=100", "trainer.epochs=40"),
        ),
        ("likelihood=normal", "likelihood.scale=0.01"),
        SURROGATE,
    ),
    "CIFAR-10": Set(  # 4 000 images
        (
            *("data=npz", "data.path=${root}/cifar10_4k.npz", "network=small_conv", "latents=32"),
            *("likelihood=normal_learned", "trainer.batch_size=64", "trainer.epochs=40"),
        ),
        ("likelihood=normal", "likelihood.scale=0.01", "trainer.epochs=15"),
        (*SURROGATE, "trainer.epochs=15"),
    ),
}
GOOD = {"good": (), "good, full covariance": ("guide=full_covariance",)}
BAD = {
    "one epoch": ("trainer.epochs=1",),
    "collapsed, β = 10 000": ("objective.beta=10000", "trainer.epochs=5"),
}  # and of each data set its own
WIDTHS = {"guide × ½": 0.5, "guide × 2": 2.0}
DEMO = {  # beside each other in experiment=demo
    "demo, selected": (
        *("likelihood=normal", "select=aligned_path", "select.levels=30", "select.epochs=60", "select.images=512"),
        *("select.ablated=128", "trainer.epochs=8"),
    ),
    "demo, normal_gamma": ("prior=normal_gamma", "guide=normal_gamma", "likelihood=normal"),
}


def models(name: str) -> dict[str, Sequence[str]]:
    """The words of each model of a data set, beside those of all."""
    of = DATA[name]
    found = {**GOOD, **BAD, "σ too small": of.narrow, "another family": of.family} | (DEMO if name == "sprites" else {})
    return {model: words for model, words in found.items() if words is not None}


def words_of(data: str, model: str, seed: int, root: Path) -> list[str]:
    """All that a run is composed of."""
    words = [word.replace("${root}", str(root)) for word in DATA[data].words]
    of_root = [] if data == "sprites" or "data=npz" in words else [f"data.root={root}"]
    return [*COMMON, *words, *of_root, *models(data)[model], f"seed={seed}"]


def widened(guide: MeanFieldNormal, factor: float) -> None:
    """Multiply the standard deviations of q(z | x), in place."""
    with torch.no_grad():
        guide.log_variance.bias.add_(2 * math.log(factor))


def measured(data: str, model: str, configuration: DictConfig, directory: Path) -> Iterator[dict[str, object]]:
    """A row for each test, of the trained pair and, of the good mean-field one, of its guide made wrong."""
    begun = time.process_time()
    parts = selected(assemble(configuration), configuration, directory)
    train(parts, configuration, directory, epochs=configuration.trainer.epochs, resume=True)
    yield from _rows(parts, configuration, {"data": data, "model": model}, begun)
    for wrong, factor in WIDTHS.items() if model == "good" else ():
        begun = time.process_time()
        widened(cast(MeanFieldNormal, parts.guide), factor)
        yield from _rows(parts, configuration, {"data": data, "model": wrong}, begun)
        widened(cast(MeanFieldNormal, parts.guide), 1 / factor)


def _rows(
    parts: Parts, configuration: DictConfig, known: dict[str, object], begun: float
) -> Iterator[dict[str, object]]:
    evaluation = evaluate(parts, configuration)
    _, found = examined(parts, evaluation, configuration)
    behind = {test: one.name for one in causes(parts, evaluation, found) for test in one.tests}
    numbers: dict[str, float | None] = {name: evaluation.metrics[name] for name in ("elbo", "rate")}
    numbers["error"] = reconstruction_error(evaluation)
    known |= {"seed": configuration.seed, **numbers, "seconds": round(time.process_time() - begun)}
    columns = ("statistic", "threshold", "limit", "size", "verdict", "grade")
    for test in found["test"].values.tolist():
        row = found.sel(test=test)
        yield known | {"test": test, **{name: row[name].item() for name in columns}, "cause": behind.get(test, "")}


def good_ranges(table: pd.DataFrame, draws: int) -> pd.DataFrame:
    """The range of each test's size over the good models of each data set, in the columns of ``reached.csv``."""
    good = table[table["model"].isin(GOOD) & table["size"].notna()]
    good = good[good["test"] != "active latents"]  # which depend on how many a model has
    ranges = good.groupby(["data", "test"], sort=False)["size"].agg(low="min", high="max", runs="count").reset_index()
    units = [SCALES[test].unit for test in ranges["test"]]
    return ranges.assign(decoder=ALONE, unit=units, draws=draws, source="grades")[list(COLUMNS)]


def told_apart(table: pd.DataFrame, draws: int) -> pd.DataFrame:
    """Of each model how many tests fail, how many of these by a large or extreme size, and in which it is worse or
    better than the good models of its data: of a good one, than those of other seeds."""
    rows = []
    for (data, model, seed), found in table.groupby(["data", "model", "seed"], sort=False):
        failed = found["verdict"] == "fail"
        row = {"data": data, "model": model, "seed": seed, "fail": failed.sum()}
        row["large or extreme"] = (failed & found["grade"].isin(["large", "extreme"])).sum()
        others = table[(table["data"] == data) & ((table["seed"] != seed) | (model not in GOOD))]
        ranges = [Reached.of(one) for one in good_ranges(others, draws).to_dict("records")]
        sizes = found.set_index("test")["size"]
        beside = {one.test: one.beside(sizes[one.test]) for one in ranges}
        row |= {word: ", ".join(test for test in beside if beside[test] == word) for word in ("worse", "better")}
        rows.append(row)
    return pd.DataFrame(rows)


def keep_ranges(table: pd.DataFrame, draws: int) -> None:
    """Put the ranges into ``reached.csv`` in place of those of this page; what other pages measured stays."""
    before = pd.read_csv(TABLE)
    kept = pd.concat([good_ranges(table, draws).round(4), before[before["source"] != "grades"]])
    kept.to_csv(TABLE, index=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.grades", description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--models", nargs="+", choices={name for data in DATA for name in models(data)}, help="some")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the images are")
    parser.add_argument("--runs", type=Path, default=Path("runs/grades"), help="where checkpoints are kept")
    parser.add_argument("--write", type=Path, help="the table, a row for each test of each model")
    parser.add_argument("--reached", action="store_true", help="put what the good models reach into reached.csv")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    register_resolvers()
    rows: list[dict[str, object]] = []
    with hydra.initialize_config_dir(str(CONFIGURATIONS), version_base="1.3"):
        for seed, data in itertools.product(chosen.seeds, chosen.data):
            for model in [name for name in models(data) if name in (chosen.models or models(data))]:
                configuration = hydra.compose("config", words_of(data, model, seed, chosen.root))
                rows += measured(data, model, configuration, chosen.runs / data / model / str(seed))
                print(f"{data}, {model}, seed {seed}: {rows[-1]['seconds']} s", flush=True)
                if chosen.write:
                    pd.DataFrame(rows).to_csv(chosen.write, index=False)
    if rows:
        found = told_apart(pd.DataFrame(rows), int(configuration.diagnosis.draws))
        print(Table("", list(found), found.values.tolist()).as_markdown())
    if chosen.reached and rows:
        keep_ranges(pd.DataFrame(rows), int(configuration.diagnosis.draws))


if __name__ == "__main__":
    main()
