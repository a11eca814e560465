"""What can be measured is, and what cannot is left out rather than the run's end."""

import logging
import math

import hydra
import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from experiments import evaluation as evaluations
from experiments.assemble import assemble
from experiments.evaluation import evaluate
from experiments.jobs.single import _information_table
from ppvae import UserError, information_split
from ppvae.metrics import decorrelation, entropy, factor_shares, knn_accuracy, moment_kl
from ppvae.nouns import IMAGE

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "prior=normal",
    "guide=mean_field",
    "posterior.draws=2",
    "posterior.ablation_images=8",
]


@pytest.fixture
def archive(tmp_path) -> list[str]:
    """Overrides for twenty-five grey images of 8 × 8 pixels with three labels."""
    images = np.random.default_rng(0).integers(0, 256, (25, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(25) % 3)
    return ["data=npz", f"data.path={tmp_path / 'images.npz'}"]


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", [*SMALL, *overrides])


def test_the_metrics_are_the_librarys(archive):
    configuration = composed(*archive, "latents=3", "posterior.images=24", "seed=2")
    evaluation = evaluate(assemble(configuration), configuration)
    metrics, tree = evaluation.metrics, evaluation.tree
    sampled, mean = tree["posterior"]["z"][0, 0].drop_vars(["chain", "draw"]), tree["sample_stats"]["z_mean"]
    assert metrics["moment_kl"] == float(moment_kl(sampled))
    assert metrics["knn_accuracy"] == float(knn_accuracy(mean, tree["constant_data"]["label"], seed=2))
    for reading, code in (("sampled", sampled), ("mean", mean)):
        assert metrics[f"entropy_{reading}"] == float(entropy(code))
        assert metrics[f"decorrelation_{reading}"] == float(decorrelation(code))
    assert "disentanglement" not in metrics  # the label alone is no set of factors


def test_where_the_information_is_is_said_of_as_many_images_as_wanted(archive):
    settings = ["information.images=20", "information.decoded=7", "information.others=5"]
    configuration = composed(*archive, "latents=3", "posterior.images=24", "seed=2", *settings)
    parts = assemble(configuration)
    evaluation = evaluate(parts, configuration)
    found = information_split(parts.model, parts.guide, parts.data.subset(slice(20)), others=5, decoded=7, seed=2)
    for name in ("mutual_information", "gain", "rate"):
        assert float(evaluation.information[name]) == pytest.approx(float(found[name]), rel=1e-5)
    metrics = evaluation.metrics
    assert metrics["mutual_information"] == float(evaluation.information["mutual_information"])
    assert metrics["mutual_information_cap"] == math.log(20)
    assert metrics["information_gain"] == float(evaluation.information["gain"])
    (table,) = _information_table(evaluation.information, IMAGE)
    assert table.rows[1][1] == metrics["mutual_information"]
    assert evaluation.information.attrs["verdict"] in table.caption.lower()


def test_where_the_information_is_need_not_be_measured(archive):
    configuration = composed(*archive, "latents=3", "posterior.images=24", "information.images=0")
    evaluation = evaluate(assemble(configuration), configuration)
    assert evaluation.information is None
    assert not {"mutual_information", "mutual_information_cap", "information_gain"} & set(evaluation.metrics)
    assert _information_table(None, IMAGE) == []


def test_labels_of_few_images_are_not_judged(archive):
    """Ten neighbours need twenty images."""
    counts = {}
    for images in (12, 24):
        configuration = composed(*archive, "latents=3", f"posterior.images={images}")
        counts[images] = "knn_accuracy" in evaluate(assemble(configuration), configuration).metrics
    assert counts == {12: False, 24: True}


def test_one_latent_has_no_decorrelation(archive):
    configuration = composed(*archive, "latents=1", "posterior.images=24")
    metrics = evaluate(assemble(configuration), configuration).metrics
    assert metrics["entropy_mean"] == 0
    assert not any("decorrelation" in name for name in metrics)


def test_a_collapsed_pair_is_measured(archive):
    """q(z | x) = N(0, I) whatever x: no rate, no mean code that varies; its draws are the prior's."""
    configuration = composed(*archive, "latents=2", "posterior.images=25")
    parts = assemble(configuration)
    with torch.no_grad():
        for parameter in parts.guide.parameters():
            parameter.zero_()
    metrics = evaluate(parts, configuration).metrics
    assert metrics["rate"] == pytest.approx(0, abs=1e-7)
    assert metrics["informative_active_units"] == 0
    assert {"entropy_sampled", "decorrelation_sampled"} <= metrics.keys()
    assert not {"entropy_mean", "decorrelation_mean"} & metrics.keys()
    assert 0 <= metrics["moment_kl"] < 1


def test_too_few_images_for_the_beta_vae_metric_lose_no_run(caplog):
    configuration = composed("data.size=24", "data.image_size=32", "latents=3", "posterior.images=16")
    metrics = evaluate(assemble(configuration), configuration).metrics
    assert "disentanglement" not in metrics
    assert "elbo" in metrics
    assert "no β-VAE metric" in caplog.text


def test_continuous_factors_are_measured_and_no_label_of_a_class(tmp_path, caplog):
    """A label of numbers has no accuracy and conditions nothing; beside others it is binned, which is said."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.linspace(0.5, 1.7, 60), kind=np.arange(60) % 2)
    archive = ["data=npz", f"data.path={tmp_path / 'images.npz'}", "latents=3", "validation=null"]
    configuration = composed(*archive)
    with caplog.at_level(logging.INFO):
        metrics = evaluate(assemble(configuration), configuration).metrics
    assert "knn_accuracy" not in metrics
    assert 0 <= metrics["disentanglement"] <= 1
    assert "continuous factors: label: 10 levels of as many images each" in caplog.text
    with pytest.raises(UserError, match=r"condition\.input=label: a continuous factor, expected one of levels"):
        assemble(composed(*archive, "condition=label"))


def test_latents_have_the_factor_that_they_tell_most_of_where_images_are_many(monkeypatch):
    """The library's shares; of few images chance alone tells of every factor, so that none is named."""
    configuration = composed(
        "data.size=64", "data.image_size=32", "latents=3", "posterior.images=64", "validation=null"
    )
    parts = assemble(configuration)
    assert "factor" not in evaluate(parts, configuration).latents["z"]
    monkeypatch.setattr(evaluations, "NAMING", 64)
    named = evaluate(parts, configuration)
    shares = factor_shares(named.tree["sample_stats"]["z_mean"], parts.data.factors)
    assert named.latents["z"]["factor"].values.tolist() == shares.idxmax("factor").values.tolist()
    np.testing.assert_allclose(named.latents["z"]["factor_share"], shares.max("factor"))
