"""log p(x) of test images: the library's own number, of the right images, known to be possible before training."""

import math
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from experiments.assemble import Parts, assemble, held_out
from experiments.evaluation import _held_out_metrics, _of_held_out, evaluate
from ppvae import UserError, log_marginal

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "latents=3",
    "prior=normal",
    "guide=mean_field",
    "trainer.progress=false",
    "posterior.images=24",
    "posterior.draws=2",
]
ROWS = 40
BITS = {
    split: np.random.default_rng(seed).integers(0, 2, (ROWS, 784), dtype=np.uint8)
    for seed, split in enumerate(("train", "valid", "test"))
}


@pytest.fixture
def binarised(tmp_path, monkeypatch) -> list[str]:
    """Overrides of binarised MNIST with forty images in each split, all different."""
    monkeypatch.setattr("ppvae.datasets.static_mnist._ROWS", dict.fromkeys(BITS, ROWS))
    for split, bits in BITS.items():
        (tmp_path / f"binarized_mnist_{split}.amat").write_text("\n".join(" ".join(map(str, row)) for row in bits))
    return [*SMALL, "data=binarised_mnist", f"data.root={tmp_path}", "likelihood=bernoulli"]


@pytest.fixture
def archive(tmp_path) -> Path:
    """Twenty-five grey images of 8 × 8 pixels with labels, and no test split."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (25, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(25) % 3)
    return tmp_path / "images.npz"


def measured(parts: Parts, configuration: DictConfig) -> dict[str, float]:
    return _held_out_metrics(parts, _of_held_out(parts, configuration))


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", list(overrides))


def test_the_images_are_of_the_test_split_and_drawn_by_the_seed(binarised):
    data = {seed: held_out(composed(*binarised, "held_out.images=9", f"seed={seed}")) for seed in (0, 1)}
    wanted = {row.tobytes() for row in BITS["test"]}
    for one in data.values():
        drawn = [row.tobytes() for row in (one.stored() // 255).flatten(1).numpy()]
        assert len(set(drawn)) == len(one) == 9
        assert set(drawn) <= wanted
        assert "static binarised mnist test, 9 images" in one.description
    assert not torch.equal(data[0].stored(), data[1].stored())
    assert held_out(composed(*binarised)) is None


def test_the_numbers_are_the_librarys(binarised):
    configuration = composed(*binarised, "held_out.images=11", "held_out.samples=30", "seed=4")
    parts = assemble(configuration)
    metrics = measured(parts, configuration)
    images = held_out(configuration).observed(seed=4)
    found = log_marginal(parts.model, parts.guide, images, 30, seed=4)
    assert metrics["test_nll"] == pytest.approx(-float(found["log_marginal"].mean()), rel=1e-12)
    assert metrics["test_negative_elbo"] == pytest.approx(-float(found["elbo"].mean()), rel=1e-12)
    assert metrics["test_effective_samples"] == pytest.approx(float(found["effective_samples"].median()), rel=1e-12)
    error = np.std(found["log_marginal"], ddof=1) / math.sqrt(11)
    assert metrics["test_nll_standard_error"] == pytest.approx(float(error), rel=1e-12)
    assert metrics["test_nll"] < metrics["test_negative_elbo"]
    assert metrics["test_nll"] == pytest.approx(784 * math.log(2), abs=20)  # near p = ½ before training
    assert "test_bits_per_dim" not in metrics  # binary pixels
    assert measured(parts, composed(*binarised)) == {}


def test_evaluation_holds_them(binarised):
    configuration = composed(*binarised, "held_out.images=6", "held_out.samples=5", "posterior.ablation_images=8")
    parts = assemble(configuration)
    metrics = evaluate(parts, configuration).metrics
    assert metrics.items() >= measured(parts, configuration).items()


def test_one_image_has_no_standard_error(binarised):
    metrics = measured(*_with(binarised, "held_out.images=1", "held_out.samples=3"))
    assert math.isnan(metrics["test_nll_standard_error"])
    assert math.isfinite(metrics["test_nll"])


def _with(overrides: list[str], *more: str) -> tuple[Parts, DictConfig]:
    configuration = composed(*overrides, *more)
    return assemble(configuration), configuration


@pytest.mark.parametrize(
    ("likelihood", "counted"),
    [
        (["likelihood=categorical"], True),
        (["likelihood=logistic"], True),
        (["likelihood=normal"], False),  # a density of reals, whose nats are of no event with a probability
        (["likelihood=bernoulli", "likelihood.surrogate=true"], False),
    ],
)
def test_bits_are_of_probabilities_of_grey_levels(archive, monkeypatch, likelihood, counted):
    """−log₂ p(x) / (C·H·W): a uniform categorical gives 8."""
    configuration = composed(*SMALL, "data=npz", f"data.path={archive}", *likelihood, "held_out.samples=20")
    parts = assemble(configuration)
    uniform = likelihood == ["likelihood=categorical"]
    if uniform:
        with torch.no_grad():
            for parameter in parts.model.likelihood.decoder.parameters():
                parameter.zero_()
    monkeypatch.setattr("experiments.evaluation.held_out", lambda _: parts.data)
    metrics = measured(parts, configuration)
    assert ("test_bits_per_dim" in metrics) == counted
    if counted:
        assert metrics["test_bits_per_dim"] == pytest.approx(metrics["test_nll"] / (64 * math.log(2)), rel=1e-12)
    if uniform:  # log p(x | z) is a constant; what is left is the noise of p(z)/q(z), a few nats over 64 pixels
        assert metrics["test_bits_per_dim"] == pytest.approx(8, abs=0.05)


# Mistakes, each before any training


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["held_out.images=-1"], r"held_out\.images=-1"),
        (["held_out.images=2.5"], r"held_out\.images=2\.5"),
        (["held_out.images=5", "held_out.samples=0"], r"held_out\.samples=0"),
        (["held_out.images=41"], "size=41 is more than the 40 images of static binarised mnist test"),
    ],
)
def test_wrong_numbers_end_in_one_line(binarised, overrides, match):
    with pytest.raises((UserError, InstantiationException), match=match) as caught:
        assemble(composed(*binarised, *overrides))
    assert isinstance(_mistake(caught.value), UserError)
    assert "\n" not in str(_mistake(caught.value))


def _mistake(error: Exception) -> BaseException:
    """What the command line prints: the cause of Hydra's own announcement."""
    return error.__cause__ if isinstance(error, InstantiationException) else error


def test_a_missing_test_file_is_found_before_the_training(binarised, tmp_path):
    (tmp_path / "binarized_mnist_test.amat").unlink()
    assemble(composed(*binarised))  # not needed
    with pytest.raises((UserError, InstantiationException)) as caught:
        assemble(composed(*binarised, "held_out.images=5"))
    assert "binarized_mnist_test.amat" in str(_mistake(caught.value))


@pytest.mark.parametrize("data", ["sprites", "npz"])
def test_data_without_a_test_split_hold_out_their_validation(archive, data):
    path = [f"data.path={archive}"] if data == "npz" else ["data.size=8"]
    own = [*SMALL, f"data={data}", *path]
    parts = assemble(configuration := composed(*own, "validation=0.3", "held_out.images=2"))
    apart = held_out(configuration)
    numbers = [set(part.to_xarray()["image"].values.tolist()) for part in (parts.data, parts.validation, apart)]
    assert not numbers[0] & numbers[1]
    assert numbers[2] <= numbers[1]
    assert len(apart) == 2
    for change, said in (("validation=null", "no test split.*give validation=0.1"), ("validation=0.3", "give fewer")):
        with pytest.raises(UserError, match=rf"held_out\.images=50.*{said}") as caught:
            assemble(composed(*own, change, "held_out.images=50"))
        assert "\n" not in str(caught.value)
