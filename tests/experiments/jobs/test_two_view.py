"""Two codes from the command line: the reports and tables of the auxiliary task, on a few drawn house numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

from experiments.assemble import assemble
from experiments.jobs import study
from experiments.jobs.two_view import classifier, samples
from experiments.jobs.two_view.pretraining import pretrain
from experiments.jobs.two_view.runs import checked
from experiments.resolvers import register_resolvers
from guides import EnumeratedClusters, OptimalClusters, RelaxedClusters
from ppvae import UserError, read_posterior
from ppvae.models.transformations import Blur, Compose, PatchShuffle
from ppvae.svi.checkpoints import load_checkpoint

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "latents=3",
    "data.size=48",
    "held_out.images=24",
    "held_out.samples=4",
    "trainer.epochs=1",
    "trainer.batch_size=16",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
]
RELAXED = "ignore:RelaxedClusters trains on an objective that is no bound:UserWarning"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> str:
    """:func:`blots` that no test touches."""
    return blots(tmp_path_factory.mktemp("digits"))


def blots(folder: Path) -> str:
    """The override that names files of blots in place of MNIST's digits, other ones for each split."""
    for seed, split in enumerate(("train", "test")):
        generator = np.random.default_rng(seed)
        pixels = np.zeros((60, 28, 28), np.uint8)
        pixels[:, 8:20, 8:20] = generator.integers(100, 256, (60, 12, 12))
        np.savez(folder / f"{split}.npz", images=pixels, labels=np.arange(60) % 10)
    return f"data.digits='{folder}/{{split}}.npz'"


def started(*overrides: str) -> DictConfig:
    configuration = compose("config", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(configuration)
    with open_dict(configuration):
        del configuration["hydra"]
    return configuration


def test_a_report_shows_both_codes_and_both_bounds(digits, tmp_path, capsys):
    page = samples.run(started("experiment=samples", *SMALL, digits), tmp_path / "run").read_text()
    assert {path.stem for path in (tmp_path / "run/figures").iterdir()} == {
        *("reconstructions", "codes", "style_transfer", "rate_distortion")
    }
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    # several draws tighten a bound but for the noise of 24 images; image and view together cost more than the image
    assert metrics["test_nll_both"] < metrics["test_negative_elbo_both"] + 50
    assert metrics["test_negative_elbo_image"] < 0.7 * metrics["test_negative_elbo_both"]
    assert "Training maximises a bound of log p(x, x̂)" in page
    assert "−ELBO of the images alone" in capsys.readouterr().out


def test_images_without_a_test_split_are_shown_as_well(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "plain.npz", images=pixels)
    """By a few draws each, not by the thousands that log p(x) of test images takes."""
    small = [override for override in SMALL if not override.startswith(("data.size", "held_out"))]
    data = ["data=npz", f"data.path={tmp_path}/plain.npz", "held_out.images=0"]
    page = samples.run(started("experiment=samples", *small, *data), tmp_path / "run").read_text()
    assert "Bounds over 40 training images, the last line of each pair with 64 draws" in page


@pytest.mark.filterwarnings(RELAXED)
def test_a_relaxed_guide_is_said_to_be_no_bound(digits, tmp_path):
    more = ["prior=cluster", "prior.clusters=3", "clusters=relaxed"]
    page = samples.run(started("experiment=samples", *SMALL, *more, digits), tmp_path / "run").read_text()
    assert "the objective is no bound" in page
    assert "kl_cluster" in json.loads((tmp_path / "run/metrics.json").read_text())


def test_every_auxiliary_task_is_one_word(digits):
    kinds = {}
    for name in ("shuffle", "grey", "blur", "none"):
        parts = assemble(started("experiment=samples", *SMALL, f"auxiliary={name}", digits))
        kinds[name] = parts.model.transformation
        assert repr(parts.guide.transformation) == repr(parts.model.transformation)
    assert isinstance(kinds["shuffle"], PatchShuffle)
    assert isinstance(kinds["grey"], Compose)
    assert isinstance(kinds["blur"].transformations[0], Blur)
    assert kinds["none"] is None


@pytest.mark.filterwarnings(RELAXED)
def test_every_way_to_cluster_is_one_word(digits):
    wanted = {"optimal": OptimalClusters, "enumerated": EnumeratedClusters, "relaxed": RelaxedClusters}
    for name, kind in wanted.items():
        configuration = started("experiment=clusters", *SMALL, f"clusters={name}", "prior.clusters=4", digits)
        parts = assemble(configuration)
        assert type(parts.guide.clusters) is kind
        assert parts.model.prior_global.clusters == 4
    optimal = assemble(started("experiment=clusters", *SMALL, "objective.beta=7", digits))
    assert optimal.guide.clusters.prior is optimal.model.prior_global
    assert optimal.guide.clusters.weight == 7


def test_the_swap_holds_two_models_against_one_classifier(digits, tmp_path):
    study.run(started("experiment=swap", *SMALL, "workers=1", "data.size=120", digits), tmp_path / "run")
    results = pd.read_csv(tmp_path / "run/results.csv").set_index("model")
    accuracies = results[["accuracy_real", "accuracy_reconstructed", "accuracy_z_local", "accuracy_z_global"]]
    assert list(results.index) == ["auxiliary_task", "without"]
    assert accuracies.to_numpy().min() >= 0
    assert results["accuracy_real"].nunique() == 1  # one classifier, one test split
    assert ((24 * accuracies) % 1 < 1e-6).all(axis=None)  # shares of 24 images
    assert results["test_negative_elbo_both"].isna().tolist() == [False, True]  # there is no second view without
    assert (tmp_path / "run/figures/accuracies.svg").is_file()


def test_the_classifier_sees_the_training_split_alone(tmp_path):
    """It is trained where no test split can be read."""
    digits = blots(tmp_path)
    (tmp_path / "test.npz").unlink()
    configuration = started("experiment=swap", *SMALL, "data.size=100", digits)
    configuration.classifier.epochs = 1
    classifier.prepare(configuration, tmp_path)
    kept = (tmp_path / "classifier.pt").stat().st_mtime_ns
    classifier.prepare(configuration, tmp_path)
    assert (tmp_path / "classifier.pt").stat().st_mtime_ns == kept
    net = classifier.load(tmp_path)
    images, labels = torch.rand(30, 3, 32, 32), torch.arange(30) % 10
    named = net(images).argmax(1)
    assert classifier.accuracy(net, images, named) == 1.0
    assert classifier.accuracy(net, images, labels) == pytest.approx(float((named == labels).float().mean()))


CLUSTERS = ["experiment=clusters", *SMALL, "workers=1", "seeds=[0]", "prior.clusters=4", "pretraining.codes=1"]


@pytest.fixture(scope="module")
def studied(tmp_path_factory) -> Path:
    """The folder of a study that the first test runs."""
    return tmp_path_factory.mktemp("study") / "run"


@pytest.fixture
def clustered(digits, studied) -> Path:
    """The folder of the study of clusters, run once; tests read it."""
    if not studied.is_dir():
        configuration = started(*CLUSTERS, digits)
        OmegaConf.clear_resolver("or")  # a worker of a study starts without
        study.run(configuration, studied)
        register_resolvers()
    return studied


def test_clusters_stand_beside_k_means_in_one_table(clustered):
    results = pd.read_csv(clustered / "results.csv").set_index("model")
    for name in ("acc", "acc_kmeans_global", "acc_kmeans_both", "acc_kmeans_pca", "nmi"):
        assert results[name].between(0, 1).all(), name
    assert (results["acc_one_to_one"] <= results["acc"]).all()
    assert results["acc_kmeans_pca"].nunique() == 1  # the same pixels
    one = clustered / "auxiliary_task/seed0"
    found = read_posterior(one / "clusters.zarr").to_dataset()
    assert int(found["counts"].sum()) == 24
    assert float(found["score"]) == results.loc["auxiliary_task", "acc"]
    assert (one / "pretraining/codes/checkpoint.pt").is_file()
    assert len(list((clustered / "figures").iterdir())) == 4


@pytest.mark.long
def test_a_study_that_was_killed_after_pretraining_goes_on(digits, clustered, tmp_path):
    """The same numbers as an uninterrupted one; what was done is not done again."""
    killed = shutil.copytree(clustered, tmp_path / "killed")
    one = killed / "auxiliary_task/seed0"
    for path in (killed / "results.csv", one / "metrics.json", one / "checkpoint.pt"):
        path.unlink()
    kept = [one / "pretraining/codes/checkpoint.pt", killed / "without/seed0/checkpoint.pt"]
    before = [path.stat().st_mtime_ns for path in kept]
    study.run(started(*CLUSTERS, digits), killed)
    assert [path.stat().st_mtime_ns for path in kept] == before
    numbers = [pd.read_csv(where / "results.csv").drop(columns="seconds") for where in (clustered, killed)]
    pd.testing.assert_frame_equal(*numbers)


def test_local_codes_learn_first_while_the_global_ones_stay(digits, tmp_path):
    """z_global at its prior: its rate is zero, and its encoder and head do not move."""
    configuration = started(*CLUSTERS, "pretraining.codes=0", "prior.spread=0.4", digits)
    parts = assemble(configuration)
    before = {name: value.clone() for name, value in parts.guide.state_dict().items()}
    pretrain(parts, configuration, tmp_path)
    history = load_checkpoint(tmp_path / "local/checkpoint.pt")["history"]
    assert np.abs(history["kl_z_global"]["rows"]).max() == 0
    assert np.abs(history["kl_z_local"]["rows"]).max() > 0
    moved = {name for name, value in parts.guide.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert {name.split(".")[0] for name in moved} == {"encoder_local", "head_local"}
    assert parts.guide.clusters is not None


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["experiment=samples", "prior=mixture"], "MixturePrior names its site itself"),
        (["experiment=samples", "prior=cluster"], "prior=cluster and clusters=optimal, enumerated or relaxed go"),
        (["experiment=samples", "clusters=optimal"], "go together; one of them is given alone"),
        (["data=house_numbers", "prior=cluster", "clusters=enumerated"], "clusters are of two views"),
        (["experiment=clusters", "clusters=relaxed", "clusters.temperature=0"], "temperature=0"),
        (["experiment=clusters", "prior.clusters=1"], "clusters=1"),
        (["experiment=samples", "auxiliary.transformation.patch=5"], "patch=5"),
        (["experiment=swap", "held_out.images=0"], "held_out.images=0"),
    ],
)
def test_mistakes_end_in_one_line_before_any_training(digits, tmp_path, overrides, line):
    with pytest.raises((UserError, InstantiationException)) as caught:
        checked(started(overrides[0], *SMALL, *overrides[1:], digits))
    assert line in str(caught.value.__cause__ or caught.value)
    assert not list(tmp_path.glob("run*"))


def test_images_without_labels_are_refused(tmp_path):
    np.savez(tmp_path / "plain.npz", images=np.zeros((40, 32, 32, 3), np.uint8))
    overrides = ["experiment=swap", "data=npz", f"data.path={tmp_path}/plain.npz"]
    configuration = started(*overrides, *[o for o in SMALL if "size=48" not in o], "held_out.images=0")
    with pytest.raises(UserError, match="no factor 'label'"):
        classifier.prepare(configuration, Path(tmp_path))
