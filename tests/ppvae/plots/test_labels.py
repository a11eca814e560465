"""Numbers as text, names of latents, and labels that keep their distance."""

import numpy as np
import pytest
import xarray as xr

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
