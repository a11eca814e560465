"""What each group of a hierarchy carries, of a linear pair whose KLs are closed forms whatever was drawn."""

import numpy as np
import pytest
import torch
import xarray as xr

from ppvae import UserError, from_pyro_svi, information_split
from ppvae.diagnostics import information_by_group, information_by_scale, informative_latents
from ppvae.plots import plot_groups

SHAPES = {"z_1": (2, 1, 1), "z_2": (1, 2, 2), "z_3": (2, 4, 4)}
SPREADS = {"z_1": 1.0, "z_2": 0.5, "z_3": 0.8}


@pytest.fixture
def exported(hierarchy):
    pair = hierarchy()
    pair.tree = from_pyro_svi(pair.model, pair.guide, pair.images, 4)
    return pair


def exact(pair, site: str) -> torch.Tensor:
    """KL(N(μ + Δ, (s/2)²) ‖ N(μ, s²)) = ½ (Δ²/s² + ¼ − log ¼ − 1) of each entry, (image, map, row, column)."""
    shift = pair.guide.heads[site](pair.images.flatten(1)).detach().double().unflatten(1, SHAPES[site])
    return 0.5 * (shift.square() / SPREADS[site] ** 2 + 0.25 - np.log(0.25) - 1)


def test_rates_are_the_closed_forms(exported):
    groups = information_by_group(exported.tree)
    assert groups["site"].values.tolist() == list(SHAPES)
    assert groups["scale"].values.tolist() == ["1×1", "2×2", "4×4"]
    total = sum(float(exact(exported, site).sum((1, 2, 3)).mean()) for site in SHAPES)
    for site, (maps, *_) in SHAPES.items():
        found, by_image = groups.sel(site=site), exact(exported, site).sum((1, 2, 3))
        assert float(found["rate"]) == pytest.approx(float(by_image.mean()), rel=1e-4)
        assert float(found["rate_error"]) == pytest.approx(float(by_image.std() / 12**0.5), rel=1e-3)
        assert float(found["share"]) == pytest.approx(float(by_image.mean()) / total, rel=1e-4)
        np.testing.assert_allclose(found["map_rate"][:maps], exact(exported, site).sum((2, 3)).mean(0), rtol=1e-4)
        assert bool(found["map_rate"][maps:].isnull().all())
    assert groups["latents"].values.tolist() == [2, 1, 2]
    assert groups["entries"].values.tolist() == [2, 4, 32]
    assert float(groups["share"].sum()) == pytest.approx(1)


@pytest.mark.parametrize("least", [0.01, 0.15])
def test_active_units_are_those_of_each_site_alone(exported, least):
    groups = information_by_group(exported.tree, min_activity=least)
    for site in SHAPES:
        rule = informative_latents(exported.tree, site=site, min_activity=least)["active_units"]
        assert int(groups["active_units"].sel(site=site)) == int(rule.sum())
    assert float(information_by_group(exported.tree, min_activity=1e3)["active_units"].sum()) == 0


def test_a_scale_is_the_sum_of_its_groups(exported):
    groups = information_by_group(exported.tree)
    groups = groups.assign_coords(scale=("site", ["1×1", "4×4", "4×4"]))
    scales = information_by_scale(groups)
    assert scales["scale"].values.tolist() == ["1×1", "4×4"]
    for name in ("rate", "share", "latents", "entries", "active_units"):
        np.testing.assert_allclose(scales[name], [groups[name][0], groups[name][1:].sum()])
    assert scales["groups"].values.tolist() == [1, 2]


def test_of_sites_that_are_not_kept_the_rate_alone_is_known(exported):
    whole = information_by_group(exported.tree)
    few = information_by_group(from_pyro_svi(exported.model, exported.guide, exported.images, 4, sites=["z_2"]))
    np.testing.assert_allclose(few["rate"], whole["rate"], rtol=1e-5)
    assert few["scale"].values.tolist() == ["?", "2×2", "?"]
    for name in ("latents", "entries", "active_units"):
        np.testing.assert_array_equal(few[name], [np.nan, float(whole[name][1]), np.nan])


def test_sites_come_in_the_programs_order_whatever_the_trees(exported):
    """A folder lists z_10 before z_2."""
    stats = exported.tree["sample_stats"].to_dataset()
    turned = xr.DataTree.from_dict({"sample_stats": stats[sorted(map(str, stats), reverse=True)]})
    turned.attrs.update(exported.tree.attrs)
    assert information_by_group(turned).identical(information_by_group(exported.tree))


@pytest.mark.parametrize("name", ["normal", "normal-gamma implicit"])
def test_one_code_is_one_group(build, name):
    pair = build(name)
    tree = from_pyro_svi(pair.model, pair.guide, pair.images, 4)
    groups = information_by_group(tree)
    assert groups["site"].values.tolist() == ["z"]
    assert groups["scale"].values.tolist() == ["vector"]
    assert float(groups["rate"][0]) == pytest.approx(float(tree["sample_stats"]["kl"].sum("latent").mean()), rel=1e-5)
    assert float(groups["latents"][0]) == 3


def test_a_tree_without_kls_is_named():
    with pytest.raises(UserError, match="holds no KL"):
        information_by_group(xr.DataTree.from_dict({"sample_stats": xr.Dataset({"a": ("image", [1.0])})}))


def test_bars_are_as_high_as_the_rates(exported):
    groups = information_by_group(exported.tree)
    split = information_split(exported.model, exported.guide, exported.images, others=3, decoded=4)
    figure = plot_groups(groups, split)
    rates, units = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in rates.patches], groups["rate"])
    np.testing.assert_allclose(rates.lines[-1].get_ydata(), split["site_gain"])
    np.testing.assert_allclose([bar.get_height() for bar in units.patches], [2, 1, 2, *groups["active_units"]])
    assert [text.get_text() for text in units.get_xticklabels()] == list(SHAPES)
    assert "1×1" in rates.get_legend_handles_labels()[1][-3]
    with pytest.raises(UserError, match="no variable 'rate'"):
        plot_groups(xr.Dataset())
