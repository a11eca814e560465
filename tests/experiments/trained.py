"""Runs of every kind of pair, on forty images of 8 × 8 pixels or rows of a table; trained once for all processes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra

import experiments
from experiments.resolvers import register_resolvers
from experiments.training import train_and_evaluate

CONF = Path(experiments.__file__).parent / "conf"
TINY = (
    *("latents=3", "validation=0.2", "trainer.stopping=null", "trainer.epochs=1", "trainer.batch_size=16"),
    *("trainer.compile=false", "trainer.progress=false", "trainer.accelerator=cpu", "information.images=0"),
    *("diagnosis.images=0", "posterior.images=24", "posterior.draws=2", "posterior.ablation_images=8"),
)
MLP = ("network=mlp", "network.encoder.hidden=[8]", "network.decoder.hidden=[8]")
PLAIN = ("prior=normal", "guide=mean_field")
SYSTEMS = {
    "plain": (*MLP, *PLAIN, "held_out.images=8", "held_out.samples=400"),
    "normal-gamma": MLP,
    "flow": (*MLP, "prior=autoregressive_flow", "guide=iaf"),
    "vamp": (*MLP, "prior=vamp", "prior.components=3", "guide=full_covariance"),
    "binary": (*MLP, *PLAIN, "data.binarise=dynamic", "likelihood=bernoulli"),
    "two views": (
        *MLP,
        "prior=cluster",
        "clusters=optimal",
        "guide=two_view",
        "auxiliary=shuffle",
        "auxiliary.latents_local=2",
        "prior.clusters=3",
    ),
    "hierarchy": (
        *("network=hierarchy", "network.hierarchy='2x2:1 4x4:1'", "network.channels=4", "prior=hierarchy"),
        *("guide=hierarchy", "likelihood=logistic"),
    ),
    "autoregressive": (
        *(*MLP, *PLAIN, "likelihood=autoregressive", "likelihood.output=normal", "likelihood.layers=3"),
        *("likelihood.channels=4", "likelihood.context=2"),
    ),
    "conditional": (*MLP, *PLAIN, "condition=label"),
    "given grey": (*MLP, *PLAIN, "condition=grey"),
    "some labels": (*MLP, "prior=normal", "guide=semi_supervised", "labels=some", "labels.known=9", "labels.images=0"),
    "table": (*PLAIN, "network=rows", "likelihood=real", "imputation.draws=4"),
    "early stopping": (*MLP, *PLAIN, "trainer/stopping=patience", "trainer.stopping.window=4", "trainer.epochs=12"),
    "selected": (
        *(*MLP, *PLAIN, "select=path", "select.levels=4", "select.epochs=4", "select.images=32"),
        "select.ablated=8",
    ),
}
OWN = {
    "plain": ("likelihood.scale=0.3", "trainer.epochs=30", "trainer.learning_rate=0.01"),
    "early stopping": ("trainer.learning_rate=0.3", "likelihood.scale=0.3"),
}


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Path:
    """A folder that all processes of a session share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder as ``make`` leaves it, in whichever process is the first to want it."""
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def sources(shared) -> Path:
    """``images.npz``, forty colour images with a label, and ``rows.csv``, forty rows with a gap."""
    return made_once(shared / "sources", _write_sources)


def _write_sources(top: Path) -> None:
    top.mkdir()
    random, label = np.random.default_rng(0), np.arange(40) % 3
    images = random.integers(0, 80, (40, 3, 8, 8)) + 80 * (np.arange(3) == label[:, None])[:, :, None, None]
    np.savez(top / "images.npz", images=images.astype(np.uint8), labels=np.array(["red", "green", "blue"])[label])
    values = random.normal(size=(40, 4)) * [1, 5, 10, 0.1] + [0, 100, -3, 7]
    values[3, 2] = np.nan
    pd.DataFrame(values, columns=["a", "b", "c", "d"]).assign(kind=label).to_csv(top / "rows.csv", index=False)


@pytest.fixture(scope="session")
def train(sources) -> Callable[..., None]:
    """Train a system, with further words of a command line, in a folder."""

    def run(system: str, directory: Path, *words: str) -> None:
        of = ("data=table", f"data.path={sources}/rows.csv", "data.labels=[kind]")
        data = of if system == "table" else ("data=npz", f"data.path={sources}/images.npz")
        own = [f"name={system.replace(' ', '_')}", *TINY, *data, *SYSTEMS[system], *OWN.get(system, ()), *words]
        if system == "early stopping":
            own.remove("trainer.stopping=null")
        train_and_evaluate(_composed(own), directory, resume=False)

    return run


@pytest.fixture(scope="session")
def trained(train, shared) -> Callable[..., Path]:
    """The folder of a finished run of a system, with further words of a command line, trained at its first use."""

    def folder(system: str, *words: str) -> Path:
        name = "_".join([system, *words]).replace(" ", "_")
        return made_once(shared / name, lambda directory: train(system, directory, *words))

    return folder


@pytest.fixture
def copied(trained, tmp_path) -> Callable[..., Path]:
    """A system's run to be changed, without the files of these names; other processes read the one that was trained."""

    def copy(system: str, *without: str) -> Path:
        left_out = shutil.ignore_patterns("*.partial", *without)
        return shutil.copytree(trained(system), tmp_path / "home" / "run", ignore=left_out)

    return copy


def _composed(words: list[str]):
    if GlobalHydra.instance().is_initialized():
        return hydra.compose("config", words)
    register_resolvers()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", words)
