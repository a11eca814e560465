"""A likelihood without a mean is shown by draws, and by nothing that could be taken for a reconstruction."""

import hydra
import numpy as np
import pytest

from experiments.assemble import assemble
from experiments.draw_figures import draws_of_run
from experiments.evaluation import evaluate

SMALL = [
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "prior=normal",
    "guide=mean_field",
    "latents=3",
    "posterior.images=10",
    "posterior.draws=2",
    "posterior.ablation_images=4",
    "information.images=0",
]
CAUSAL = ["likelihood=autoregressive", "likelihood.layers=3", "likelihood.channels=8", "likelihood.output=normal"]


@pytest.fixture
def archive(tmp_path) -> list[str]:
    images = np.random.default_rng(0).integers(0, 256, (25, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    return ["data=npz", f"data.path={tmp_path / 'images.npz'}"]


@pytest.mark.parametrize(
    ("likelihood", "shown"),
    [
        (CAUSAL, {"samples", "same_z", "in_painting"}),
        (["likelihood=normal"], {"samples"}),
    ],
)
def test_samples_are_always_shown_and_other_draws_where_there_is_no_mean(archive, likelihood, shown):
    configuration = hydra.compose("config", [*SMALL, *archive, *likelihood])
    parts = assemble(configuration)
    figures = draws_of_run(parts, evaluate(parts, configuration), 0)
    assert {figure.name for figure in figures} == shown
    for figure in figures:
        assert "raws" in figure.caption
        assert "econstruct" not in figure.caption
