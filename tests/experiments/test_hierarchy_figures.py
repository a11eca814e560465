"""What a page says of a deep hierarchy: each group, and pictures of what it draws."""

import hydra
import numpy as np
import pytest
import xarray as xr

from experiments import hierarchy_figures
from experiments.assemble import assemble
from experiments.evaluation import evaluate
from experiments.hierarchy_figures import figures_of_hierarchy, groups_table
from experiments.jobs.single import _metrics_table
from ppvae import UserError
from ppvae.plots.labels import number

SMALL = [
    "posterior.images=8",
    "posterior.draws=2",
    "posterior.ablation_images=4",
    "information.images=6",
    "information.decoded=2",
    "information.others=2",
]
HIERARCHY = ["prior=hierarchy", "guide=hierarchy", "network=hierarchy", "network.channels=4", "latents=2"]
GROUPS = ["z_1", "z_2", "z_3", "z_4"]


def made(folder, *overrides: str):
    """A pair on eight grey images of 8 × 8 pixels, and its evaluation."""
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    data = ["data=npz", f"data.path={folder / 'images.npz'}"]
    configuration = hydra.compose("config", [*data, *SMALL, *overrides])
    parts = assemble(configuration)
    return parts, evaluate(parts, configuration)


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def deep(tmp_path, kept):
    """A pair of four groups, untrained, measured once."""
    if not kept:
        settings = ["network.hierarchy='2x2:2 4x4:2'", "posterior.sites=[z_1]"]
        kept["deep"] = made(tmp_path, *HIERARCHY, *settings)
    return kept["deep"]


def test_a_page_shows_what_a_hierarchy_draws(deep):
    figures = figures_of_hierarchy(*deep, 0)
    assert [figure.name for figure in figures] == ["groups", "temperatures", "kept_groups", "interpolations"]
    groups, _, kept, _ = figures
    rates = {site: deep[1].metrics[f"rate_{site}"] for site in GROUPS}
    assert groups.caption.startswith(
        f"The dearest group is {max(rates, key=rates.get)}, {number(max(rates.values()))} of "
    )
    assert "by 0 with all 4" in kept.caption  # which is the reconstruction
    assert all(figure.alt and figure.alt != figure.caption for figure in figures)


def test_images_laid_over_each_other_are_said_to_be_so(deep, monkeypatch):
    """Paths on which each step is a blend of the ends, black and white."""

    def blend(*_, steps: int, **__) -> xr.DataArray:
        levels = xr.DataArray(np.linspace(0, 1, steps), dims="step")
        return levels * xr.DataArray(np.ones((1, 8, 8)), dims=("channel", "row", "column"))

    monkeypatch.setattr(hierarchy_figures, "interpolate", blend)
    paths = hierarchy_figures.figures_of_hierarchy(*deep, 0)[-1]
    assert "half way images are 0 a pixel off the two ends laid over each other, which are 1 apart" in paths.caption
    assert paths.alt.startswith("4 rows of 9 images")


def test_each_group_and_each_scale_has_a_row(deep):
    _, evaluation = deep
    (table,) = groups_table(evaluation)
    assert [row[:2] for row in table.rows] == [
        *(("z_1", "2×2"), ("z_2", "2×2"), ("z_3", "4×4"), ("z_4", "4×4")),
        *(("all of", "2×2"), ("all of", "4×4")),
    ]
    rates = [row[2] for row in table.rows]
    for site, rate in zip(GROUPS, rates, strict=False):
        assert rate == pytest.approx(evaluation.metrics[f"rate_{site}"], rel=1e-5)
    assert rates[4] == pytest.approx(rates[0] + rates[1])
    assert sum(rates[:4]) == pytest.approx(evaluation.metrics["rate"], rel=1e-5)
    assert table.rows[0][6] == float(evaluation.information["site_gain"][0])
    assert not any("rate of z_" in row[0] for row in _metrics_table(evaluation, ngvae=False).rows)


def test_of_many_groups_the_top_and_the_largest_are_shown_one_by_one(deep):
    _, evaluation = deep
    rates = {site: evaluation.metrics[f"rate_{site}"] for site in GROUPS[1:]}
    assert list(evaluation.traversals) == [site for site in GROUPS if site != min(rates, key=rates.get)]
    assert list(evaluation.latents) == GROUPS
    assert evaluation.counted == 8


def test_draws_are_kept_of_the_sites_that_the_configuration_names(deep):
    _, evaluation = deep
    assert list(evaluation.tree["posterior"].data_vars) == ["z_1"]
    assert {f"{site}_mean" for site in GROUPS} <= set(evaluation.tree["sample_stats"].data_vars)
    assert "entropy_mean" in evaluation.metrics
    assert "entropy_sampled" not in evaluation.metrics


@pytest.mark.parametrize(
    ("sites", "line"),
    [("z_1", "expected a list of latent sites"), ("[1]", "expected a list"), ("[z_9]", "sites names 'z_9'")],
)
def test_sites_that_cannot_be_kept_are_named(tmp_path, sites, line):
    with pytest.raises(UserError, match=line):
        made(tmp_path, *HIERARCHY, "network.hierarchy='2x2:1 4x4:1'", f"posterior.sites={sites}")


def test_a_single_code_is_no_hierarchy(tmp_path):
    flat = ["network=mlp", "network.encoder.hidden=[8]", "network.decoder.hidden=[8]", "prior=normal"]
    parts, evaluation = made(tmp_path, *flat, "guide=mean_field", "latents=2", "information.images=0")
    assert figures_of_hierarchy(parts, evaluation, 0) == []
    assert groups_table(evaluation) == []
    assert "entropy_sampled" in evaluation.metrics
