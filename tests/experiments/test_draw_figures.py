"""A likelihood without a mean is shown by draws, and by nothing that could be taken for a reconstruction."""

import hydra
import numpy as np
import pytest
import xarray as xr

from experiments.assemble import assemble
from experiments.draw_figures import draws_of_run, same_z_figure
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
        assert figure.alt
        assert figure.alt != figure.caption


@pytest.mark.parametrize(("keeps", "share"), [(1.0, "100%"), (0.5, "75%"), (0.0, "0%"), (-1.0, "−300%")])
def test_what_z_keeps_is_said_of_known_draws(keeps, share):
    """Images of two levels; their draws are ``keeps`` times as far from the mean image, and 0.1 off to both sides."""
    ones = xr.DataArray(np.ones((1, 4, 4)), dims=("channel", "row", "column"))
    away = xr.DataArray([-0.2, 0.2], dims="image")
    noise = xr.DataArray([-0.1, 0.1], dims="draw")
    images, drawn = (0.5 + away) * ones, (0.5 + keeps * away + noise) * ones
    figure = same_z_figure("same_z", drawn, images, "One z", "test images")
    assert figure.caption.startswith(
        f"The mean of a line's draws explains {share} of how these 2 images differ, and its draws differ from each "
        "other by 0.1 a pixel. Left test images"
    )
    assert figure.alt.startswith("2 lines, an image and 2 draws each.")
