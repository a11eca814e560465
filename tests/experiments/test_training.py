"""A run's directory: what is in it agrees with what was measured."""

import json
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

import experiments
from experiments.assemble import assemble
from experiments.training import share_cores, train_and_evaluate
from ppvae import read_posterior
from ppvae.svi import load_pair

CONF = Path(experiments.__file__).parent / "conf"
TINY = [
    "data.size=96",
    "data.image_size=32",
    "network=mlp",
    "latents=4",
    "trainer.epochs=2",
    "trainer.batch_size=32",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "posterior.images=40",
    "posterior.draws=2",
    "posterior.ablation_images=16",
]


def configured(*overrides: str) -> DictConfig:
    """For the module's fixtures, which come before the tests' Hydra, and for the tests."""
    GlobalHydra.instance().clear()
    OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        configuration = hydra.compose("config", [*TINY, *overrides])
    GlobalHydra.instance().clear()
    return configuration


@pytest.fixture(scope="module", params=["normal_gamma", "normal"])
def run(request, tmp_path_factory):
    """Directory, configuration, parts, history and evaluation of a tiny run."""
    guide = {"normal_gamma": "normal_gamma", "normal": "mean_field"}[request.param]
    directory, configuration = tmp_path_factory.mktemp("run"), configured(f"prior={request.param}", f"guide={guide}")
    return directory, configuration, *train_and_evaluate(configuration, directory, resume=False)


def test_the_directory_holds_everything(run):
    directory, configuration, *_ = run
    names = {path.name for path in directory.iterdir()}
    trained = "config.yaml checkpoint.pt best.pt history.csv history.zarr tensorboard"
    assert names == set(f"{trained} posterior.zarr latents.csv codes.csv metrics.json".split())
    assert OmegaConf.load(directory / "config.yaml") == configuration


def test_what_is_read_back_is_what_was_measured(run):
    directory, _, _, history, evaluation = run
    tree = read_posterior(directory / "posterior.zarr").load()
    for name, group in evaluation.tree.children.items():
        assert group.to_dataset().identical(tree[name].to_dataset()), name
    assert read_posterior(directory / "history.zarr").load().to_dataset().identical(history)
    latents = pd.read_csv(directory / "latents.csv", index_col="latent")
    np.testing.assert_allclose(latents["kl"], evaluation.latents["z"]["kl"], rtol=1e-6)
    assert len(latents) == 4


def test_metrics_agree_with_the_posterior(run):
    directory, _, _, history, evaluation = run
    metrics = json.loads((directory / "metrics.json").read_text())
    statistics = evaluation.tree["sample_stats"]
    assert metrics["elbo"] == pytest.approx(float(statistics["elbo"].mean()), rel=1e-6)
    assert metrics["rate"] == pytest.approx(float(statistics["kl"].sum("latent").mean()), rel=1e-6)
    assert metrics["epochs"] == 2
    assert metrics["seconds"] == pytest.approx(float(history.seconds.sum()))
    assert 0 <= metrics["disentanglement"] <= 1
    assert 0 <= metrics["entropy_mean"] <= np.log(4) + 1e-6
    assert 0 <= metrics["informative_by_kl"] <= 4
    assert 1 <= metrics["informative_by_relevance"] <= 4
    assert ("informative_by_probability" in metrics) == ("p" in history)


def test_metrics_are_valid_json(run):
    """NaN is no JSON: what could not be measured is left out or null."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    json.loads((run[0] / "metrics.json").read_text(), parse_constant=refuse)


def test_sizes_are_the_configurations(run):
    _, _, parts, history, evaluation = run
    assert evaluation.tree["posterior"]["z"].shape == (1, 2, 40, 4)
    assert (len(parts.data), len(parts.validation)) == (86, 10)
    assert history.sizes["latent"] == 4
    np.testing.assert_array_equal(evaluation.tree["observed_data"]["x"], parts.data.images[:40])
    for name, factor in parts.data.factors.data_vars.items():
        np.testing.assert_array_equal(evaluation.tree["constant_data"][name], factor[:40])


def test_the_checkpoint_is_the_pair_that_was_measured(run):
    directory, configuration, parts, *_ = run
    fresh = assemble(configuration.copy())
    load_pair(directory / "checkpoint.pt", fresh.model, fresh.guide)
    for name in ("model", "guide"):
        own, loaded = getattr(parts, name).state_dict(), getattr(fresh, name).state_dict()
        assert all(torch.equal(own[key], loaded[key]) for key in own)


def test_a_resumed_run_measures_the_same(run, tmp_path):
    _, configuration, _, history, evaluation = run
    shorter = configuration.copy()
    shorter.trainer.epochs = 1
    train_and_evaluate(shorter, tmp_path, resume=False)
    _, resumed, again = train_and_evaluate(configuration.copy(), tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.loss, history.loss)
    np.testing.assert_array_equal(again.tree["posterior"]["z"], evaluation.tree["posterior"]["z"])
    assert {k: v for k, v in again.metrics.items() if v == v} == {k: v for k, v in evaluation.metrics.items() if v == v}


def test_more_images_than_there_are_is_all_of_them(tmp_path):
    _, _, evaluation = train_and_evaluate(
        configured("posterior.images=5000", "trainer.epochs=1"), tmp_path, resume=False
    )
    assert evaluation.tree["posterior"].sizes["image"] == 86


def test_cores_are_shared_fairly():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(6)  # as OMP_NUM_THREADS=6 does
        share_cores(1, 8)
        assert torch.get_num_threads() == 6
        share_cores(2, 8)
        assert torch.get_num_threads() == 4
        share_cores(5, 2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
