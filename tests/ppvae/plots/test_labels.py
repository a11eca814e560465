"""Numbers as text, names of latents, and labels that keep their distance."""

import numpy as np
import pytest
import xarray as xr

from ppvae.plots import plot_latent_history
from ppvae.plots.labels import latent_names, number, spread, tick


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0213, "0.021"), (-36_296.4, "−36\u2009296"), (25.39, "25"), (1e-7, "1.0e−07"), (np.nan, "–")],
)
def test_number_has_two_digits_or_all_before_the_point(value: float, text: str) -> None:
    assert number(value, 2) == text


@pytest.mark.parametrize(("value", "text"), [(0.30000000000000004, "0.3"), (-27_000.0, "−27\u2009000"), (4.0, "4")])
def test_tick_is_short(value: float, text: str) -> None:
    assert tick(value) == text


def test_latents_are_named_by_their_coordinate() -> None:
    assert latent_names(xr.DataArray([0, 0], dims="latent", coords={"latent": [7, 2]})) == ["z7", "z2"]
    assert latent_names(xr.DataArray([0, 0], dims="latent")) == ["z0", "z1"]
    assert latent_names(xr.DataArray([0], dims="latent", coords={"latent": ["size"]})) == ["size"]


def test_spread_leaves_distant_labels_alone() -> None:
    np.testing.assert_allclose(spread([0.9, 0.1, 0.5], 0.1, 0, 1), [0.9, 0.1, 0.5])


def test_spread_centres_a_cluster_on_its_mean() -> None:
    np.testing.assert_allclose(spread([0.5, 0.5, 0.5], 0.1, 0, 1), [0.4, 0.5, 0.6])


def test_spread_keeps_gap_order_and_bounds() -> None:
    wanted = np.random.default_rng(0).choice([0.01, 0.98, 0.5], 15) + np.arange(15) * 1e-4
    placed = spread(wanted, 0.05, 0, 1)
    np.testing.assert_array_equal(np.argsort(wanted), np.argsort(placed))
    assert np.diff(np.sort(placed)).min() > 0.05 - 1e-9
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9


def test_spread_shrinks_the_gap_where_labels_do_not_fit() -> None:
    np.testing.assert_allclose(np.sort(spread(np.zeros(11), 0.5, 0, 1)), np.linspace(0, 1, 11))
    assert spread([], 0.1, 0, 1).size == 0


def test_latents_are_named_after_their_site():
    codes = xr.DataArray(np.zeros((2, 3)), dims=("image", "latent"))
    assert latent_names(codes) == ["z0", "z1", "z2"]
    assert latent_names(codes.assign_attrs(site="w")) == ["w[0]", "w[1]", "w[2]"]
    assert latent_names(codes, site="z_1") == ["z_1[0]", "z_1[1]", "z_1[2]"]
    named = codes.assign_coords(latent=["z_1[0]", "z_1[1]", "w[0]"]).assign_attrs(site="w")
    assert latent_names(named) == ["z_1[0]", "z_1[1]", "w[0]"]


def test_a_history_of_feature_maps_has_a_line_a_map():
    """Whose entries' KLs are added up."""
    kl = np.arange(24.0).reshape(3, 2, 2, 2)
    history = xr.Dataset({"kl_m": (("epoch", "map", "row", "column"), kl)}, coords={"epoch": [1, 2, 3]})
    axes = plot_latent_history(history, "kl_m").axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines() if line.get_label().startswith("m")}
    np.testing.assert_allclose(lines["m[0]"], kl[:, 0].sum((1, 2)))
    np.testing.assert_allclose(lines["m[1]"], kl[:, 1].sum((1, 2)))
