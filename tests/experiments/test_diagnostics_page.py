"""The diagnostics page of a run: the findings are the library's, and what the data lack is left out."""

import re
from types import SimpleNamespace

import hydra
import numpy as np
import pytest
import xarray as xr
from omegaconf import DictConfig

from experiments.assemble import assemble
from experiments.diagnostics_page import _cards, write_diagnosis
from experiments.evaluation import evaluate
from experiments.reached import UNKNOWN
from ppvae import UserError, examine
from ppvae.diagnostics import diagnose

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "prior=normal",
    "guide=mean_field",
    "latents=3",
    "posterior.images=40",
    "posterior.draws=2",
    "posterior.ablation_images=8",
    "diagnosis.images=10",
    "diagnosis.draws=30",
    "diagnosis.simulations=20",
]


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", [*SMALL, *overrides])


def test_findings_are_the_librarys_of_the_first_images(tmp_path):
    configuration = composed("data.size=64", "data.image_size=32", "seed=3")
    parts = assemble(configuration)
    evaluation = evaluate(parts, configuration)
    assert evaluation.metrics.items() >= evaluation.scores.metrics().items()
    found = write_diagnosis(parts, evaluation, configuration, tmp_path, of="A run")
    images = parts.data.observed(slice(10), 3)
    tree = examine(parts.model, parts.guide, images, num_samples=30, simulations=20, seed=3)
    tree["information"] = evaluation.tree["information"]  # of as many images as the configuration says
    again = diagnose(tree)
    assert found["verdict"].values.tolist() == again["verdict"].values.tolist()
    np.testing.assert_allclose(found["statistic"], again["statistic"], rtol=1e-6)
    page = (tmp_path / "diagnostics.html").read_text()
    for what in found["what"].values[:3]:
        assert str(what)[:30].replace("'", "&#39;") in page
    assert 'href="report.html"' in page
    assert "<h1>Diagnostics: A run</h1>" in page
    order = re.findall(r'<span class="badge ([a-z-]+)">', page)
    assert "Beside good models of sprites: " in page
    assert order == sorted(order, key=["fail", "warn", "pass", "not-run"].index)
    assert len(order) == found.sizes["test"]
    assert " nan" not in page
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"importance", "calibration", "dci", "cards"}


def test_without_factors_there_is_no_importance_matrix(tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", images=random.integers(0, 256, (40, 8, 8), dtype=np.uint8))
    configuration = composed("data=npz", f"data.path={tmp_path / 'images.npz'}")
    parts = assemble(configuration)
    evaluation = evaluate(parts, configuration)
    assert evaluation.scores is None
    write_diagnosis(parts, evaluation, configuration, tmp_path)
    assert UNKNOWN.split(",")[0] in (tmp_path / "diagnostics.html").read_text()
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"importance", "calibration", "cards"}


@pytest.mark.parametrize(
    "wrong",
    [
        *("diagnosis.images=-1", "diagnosis.draws=1", "diagnosis.simulations=19"),
        *("information.images=-1", "information.decoded=1", "information.others=0"),
    ],
)
def test_wrong_numbers_end_in_one_line_before_any_training(wrong):
    with pytest.raises(UserError, match=wrong.replace(".", r"\.")):
        assemble(composed("data.size=64", wrong))


def test_cards_name_the_latents_that_change_cost_and_matter_most():
    """z2 moves each pixel by 0.4 and costs 3 nats, without z0 the error rises by half."""
    steps = np.zeros((2, 3, 1, 4, 4))
    steps[0] = np.array([0.0, 0.2, 0.4])[:, None, None, None]
    traversal = xr.DataArray(steps, {"latent": [2, 0]}, ("latent", "step", "channel", "row", "column"))
    latents = xr.Dataset({"kl": ("latent", [1.0, 3.0]), "relative": ("latent", [0.5, 0.1])}, {"latent": [0, 2]})
    figure = _cards(SimpleNamespace(traversals={"z": traversal}, latents={"z": latents}), None, "z")
    assert figure.caption.startswith(
        "1 of 2 rows change by more than 0.01 a pixel between their ends, z2 the most, by 0.4; z2 costs most, 3.00 "
        "nats; without z0 the squared error rises most, by 50%."
    )
    assert figure.alt.startswith("2 rows of images and the change between their ends")
