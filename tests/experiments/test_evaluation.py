"""What can be measured is, and what cannot is left out rather than the run's end."""

import hydra
import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from experiments.assemble import assemble
from experiments.evaluation import evaluate
from ppvae.metrics import decorrelation, entropy, knn_accuracy, moment_kl

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
