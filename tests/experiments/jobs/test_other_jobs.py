"""Jobs beside the main one: controlled capacity, and one flow before or after the latents."""

from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from pyro.infer import Trace_ELBO

from experiments.jobs import af_equals_iaf, capacity_sprites
from experiments.jobs.af_equals_iaf import FlowFirst, matching_iaf
from guides import MeanFieldNormal
from ppvae import VAE, UserError, from_pyro_svi, log_marginal
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.metrics import knn_explained
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.priors import AutoregressiveFlowPrior, NormalPrior

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
]
CAPACITY = ["experiment=capacity_sprites", *SMALL, "data.size=64", "latents=3", "trainer.batch_size=16"]
EVERY = [*CAPACITY, "trainer.epochs=5", "every=2", "probe=40", "objective.stop=8", "objective.steps=10"]
IMAGE_SHAPE = (1, 4, 4)
LATENTS = 5


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", list(overrides))


# Controlled capacity


def test_capacity_looks_after_every_stage_and_at_the_end(tmp_path, capsys, monkeypatch):
    """C rises by 0.8 nats a step to 8; an epoch has four steps: 0, 0.8, 1.6 and 2.4, mean 1.2, and so on."""
    looks = []
    explained = capacity_sprites._explained

    def kept(parts, configuration):
        probe = slice(configuration.probe)
        codes = from_pyro_svi(parts.model, parts.guide, parts.data.observed(probe), 1)["sample_stats"]["z_mean"]
        scores = {name: float(knn_explained(codes, f[probe])) for name, f in parts.data.factors.data_vars.items()}
        looks.append(scores)
        return explained(parts, configuration)

    monkeypatch.setattr(capacity_sprites, "_explained", kept)
    page = capacity_sprites.run(composed(*EVERY), tmp_path)
    table = pd.read_csv(tmp_path / "results.csv").set_index(["epoch", "factor"]).sort_index()
    assert table.index.levels[0].tolist() == [2, 4, 5]
    assert set(table.index.levels[1]) == {"hue", "shape", "x", "y", "depth"}
    first = table.groupby("epoch").first()
    steps = np.arange(20)
    means = np.minimum(8, 0.8 * steps).reshape(5, 4).mean(1)
    np.testing.assert_allclose(first["capacity"], means[[1, 3, 4]])
    history = pd.read_csv(tmp_path / "history.csv").set_index("epoch")
    assert history.index.tolist() == [1, 2, 3, 4, 5]
    for name in ("rate", "distortion"):
        np.testing.assert_allclose(first[name], history[name][[2, 4, 5]], rtol=1e-6)
    for epoch, scores in zip([2, 4, 5], looks, strict=True):
        for name, score in scores.items():
            assert table.loc[(epoch, name), "explained"] == pytest.approx(score)
    text = page.read_text()
    assert "Capacity, KL and factors" in text
    assert "KL of each latent over training" in text
    written = (tmp_path / "table.md").read_text()
    assert written[written.index("| epoch") :] in capsys.readouterr().out
    assert f"| 5 | {means[4]:.1f} |" in written
    assert "data: sprites, 64 images" in written


def test_training_in_stages_is_training_at_once(tmp_path):
    """The same steps, whatever is looked at in between."""
    for name, every in (("stages", 1), ("once", 9)):
        capacity_sprites.run(composed(*EVERY, f"every={every}"), tmp_path / name)
    stages, once = (pd.read_csv(tmp_path / name / "history.csv") for name in ("stages", "once"))
    columns = ["loss", "elbo", "rate", "distortion"]
    pd.testing.assert_frame_equal(stages[columns], once[columns])


def test_a_resumed_capacity_run_keeps_its_first_looks(tmp_path, monkeypatch):
    """Two epochs, then on to five: the numbers of one run, and nothing is trained or looked at twice."""
    capacity_sprites.run(composed(*EVERY), tmp_path / "whole")
    capacity_sprites.run(composed(*EVERY, "trainer.epochs=2"), tmp_path / "parts")
    looks = []
    explained = capacity_sprites._explained
    monkeypatch.setattr(capacity_sprites, "_explained", lambda *given: looks.append(given) or explained(*given))
    capacity_sprites.run(composed(*EVERY, f"resume={tmp_path / 'parts'}"), tmp_path / "parts")
    assert len(looks) == 2  # after 4 and 5
    whole, resumed = (pd.read_csv(tmp_path / name / "results.csv") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, resumed)


@pytest.mark.parametrize(
    ("key", "override", "match"),
    [
        ("objective", "objective=beta", "needs objective=capacity"),
        ("annealing", "annealing=linear", "annealing=null"),
        ("every", "+every=0", "every=0"),
        ("probe", "+probe=5", "probe=5: expected a whole number of at least 20"),
        ("trainer.epochs", "trainer.epochs=0", r"trainer\.epochs=0"),
        ("trainer.stopping", "trainer=default", r"trainer\.stopping=null"),
    ],
)
def test_capacitys_mistakes_end_before_the_training(tmp_path, key, override, match):
    configuration = composed(*EVERY)
    OmegaConf.update(configuration, key, OmegaConf.select(composed(override), key), merge=False, force_add=True)
    with pytest.raises(UserError, match=match) as caught:
        capacity_sprites.run(configuration, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_capacity_needs_factors(tmp_path):
    np.savez(tmp_path / "plain.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8))
    configuration = composed(*EVERY)
    configuration.data = composed("data=npz", f"data.path={tmp_path / 'plain.npz'}").data
    with pytest.raises(UserError, match="data with factors"):
        capacity_sprites.run(configuration, tmp_path / "run")


# One flow, before or after


@pytest.fixture
def pair() -> tuple[VAE, MeanFieldNormal, torch.Tensor]:
    """A flow prior whose f is far from the identity, a diagonal guide, and images; in double precision."""
    prior = AutoregressiveFlowPrior(LATENTS, flows=2, hidden=(8,))
    with torch.no_grad():
        for parameter in prior.flow.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model = VAE(prior, BernoulliLikelihood(MLPDecoder(LATENTS, IMAGE_SHAPE, (8,))))
    guide = MeanFieldNormal(MLPEncoder(IMAGE_SHAPE, (8,)), LATENTS)
    images = torch.rand(7, *IMAGE_SHAPE).round().double()
    return model.double(), guide.double(), images


def test_the_matching_pair_has_the_same_bound_of_every_image(pair):
    """At one noise, to the rounding of float64; the pairs' rates and the identity of their priors differ."""
    model, guide, images = pair
    other, iaf = matching_iaf(model, guide)
    (bounds, gradients), (others, other_gradients) = (
        af_equals_iaf._measured(*both, images, seed=3) for both in (pair[:2], (other, iaf))
    )
    np.testing.assert_allclose(bounds, others, rtol=0, atol=1e-10)
    shared = gradients.keys() & other_gradients.keys()
    assert shared == {id(p) for part in (model, guide) for p in part.parameters()}
    for key in shared:
        np.testing.assert_allclose(gradients[key], other_gradients[key], rtol=0, atol=1e-10)
    assert isinstance(other.prior, NormalPrior)
    plain = VAE(NormalPrior(LATENTS), model.likelihood).double()  # without f the bound is another
    assert (af_equals_iaf._measured(plain, guide, images, seed=3)[0] - bounds).abs().min() > 1e-3


def test_the_matching_pair_shares_every_parameter(pair):
    model, guide, _ = pair
    other, iaf = matching_iaf(model, guide)
    own, theirs = ({id(p) for part in parts for p in part.parameters()} for parts in ((model, guide), (other, iaf)))
    assert own == theirs


def test_the_decoder_sees_the_latents_that_f_whitened(pair):
    model, _, _ = pair
    z = torch.randn(6, LATENTS, dtype=torch.float64)
    whitened = z
    with torch.no_grad():
        for transform in model.prior.flow.transforms():
            whitened = transform(whitened)
        logits = FlowFirst(model.likelihood, model.prior.flow)(whitened).base_dist.logits
        np.testing.assert_allclose(logits, model.likelihood(z).base_dist.logits, atol=1e-10)


def test_both_pairs_have_one_log_marginal(pair):
    """The same theorem through the library's own estimator, which draws its noise in the same order."""
    model, guide, images = pair
    first, second = (
        log_marginal(*both, images, 20, seed=1)["log_marginal"] for both in ((model, guide), matching_iaf(model, guide))
    )
    np.testing.assert_allclose(first, second, atol=1e-9)


def write_amat(root: Path, rows: int = 40) -> np.ndarray:
    """Random digits as the three files of binarised MNIST; returns the bits."""
    bits = np.random.default_rng(0).integers(0, 2, (rows, 784), dtype=np.uint8)
    text = "\n".join(" ".join(map(str, row)) for row in bits) + "\n"
    for split in ("train", "valid", "test"):
        (root / f"binarized_mnist_{split}.amat").write_text(text)
    return bits


@pytest.fixture
def binarised(tmp_path, monkeypatch) -> list[str]:
    """Overrides of binarised MNIST with forty images in each split."""
    monkeypatch.setattr("ppvae.datasets.static_mnist._ROWS", dict.fromkeys(("train", "valid", "test"), 40))
    write_amat(tmp_path)
    return [f"data.root={tmp_path}"]


def test_the_job_reports_one_bound(binarised, tmp_path, capsys):
    flow = ["latents=4", "prior.hidden=[8]", "trainer.epochs=2", "trainer.batch_size=20", "posterior.images=30"]
    configuration = composed("experiment=af_equals_iaf", *SMALL, *binarised, *flow)
    page = af_equals_iaf.run(configuration, tmp_path / "run")
    written = (tmp_path / "run" / "table.md").read_text()
    cells = dict(line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("| "))
    assert float(cells["largest difference of an image's bound (nats)"]) < 1e-9
    assert float(cells["largest relative difference of a gradient"]) < 1e-9
    assert cells["bound by the AF prior, mean (nats)"] == cells["bound by the IAF guide, mean (nats)"]
    assert -784 < float(cells["bound by the AF prior, mean (nats)"]) < -784 * np.log(2) + 50  # of random bits
    assert "30 images" in written
    assert written[written.index("| what") :] in capsys.readouterr().out
    assert "AF prior = IAF posterior" in page.read_text()


@pytest.mark.parametrize("overrides", [["prior=normal"], ["guide=full_covariance"]])
def test_the_job_needs_its_own_pair(binarised, tmp_path, overrides):
    configuration = composed("experiment=af_equals_iaf", *SMALL, *binarised, *overrides)
    with pytest.raises(UserError, match="needs prior=autoregressive_flow and guide=mean_field"):
        af_equals_iaf.run(configuration, tmp_path / "run")


def test_the_bound_is_pyros_own(pair):
    """Pyro's Trace_ELBO sums over the images what the job measures of each, at one seed."""
    model, guide, images = pair
    for both in (pair[:2], matching_iaf(model, guide)):
        bound, _ = af_equals_iaf._measured(*both, images, seed=5)
        torch.manual_seed(5)
        assert float(-bound.sum()) == pytest.approx(Trace_ELBO().loss(*both, images), abs=1e-9)
