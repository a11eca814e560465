"""Figures of rows: what is drawn is what was given, columns keep their names, and what does not fit is one line."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ppvae import UserError
from ppvae.plots import plot_row_traversals, plot_rows, plot_table

RANDOM = np.random.default_rng(0)
WAVELENGTHS = [f"{400 + 5 * k} nm" for k in range(9)]


def observed(columns: list[str]) -> xr.DataArray:
    values = RANDOM.normal(size=(4, len(columns)))
    values[0, 2] = np.nan
    return xr.DataArray(values, {"image": [3, 5, 8, 9], "column": columns}, ("image", "column"))


def drawn(rows: xr.DataArray) -> xr.Dataset:
    return xr.Dataset({"mean": rows.fillna(0.0), "lower": rows.fillna(0.0) - 1, "upper": rows.fillna(0.0) + 2})


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_rows_are_curves_over_the_numbers_in_their_names():
    rows = observed(WAVELENGTHS)
    figure = plot_rows(rows, drawn(rows), most=3)
    assert titles(figure) == ["row 3, 1 missing", "row 5", "row 8"]
    for place, axes in enumerate(figure.axes):
        mean, dots = axes.lines
        np.testing.assert_array_equal(mean.get_xdata(), 400 + 5 * np.arange(9))
        np.testing.assert_array_equal(mean.get_ydata(), drawn(rows)["mean"][place])
        np.testing.assert_array_equal(dots.get_ydata(), rows[place])  # NaN: no dot
        (band,) = axes.collections
        edges = band.get_paths()[0].vertices[:, 1]
        assert edges.min() == drawn(rows)["lower"][place].min()
        assert edges.max() == drawn(rows)["upper"][place].max()
        assert axes.get_xlabel() == "nm"


@pytest.mark.parametrize("columns", [["height", "weight", "age"], ["b 3", "b 2", "b 1"], ["x 1", "y 2", "z 3"]])
def test_other_columns_stand_one_after_another_under_their_names(columns):
    rows = observed(columns)
    axes = plot_rows(rows, drawn(rows)).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), np.arange(3))
    assert [label.get_text() for label in axes.get_xticklabels()] == columns


def test_heat_maps_are_in_deviations_of_the_first_tables_columns():
    rows = observed(WAVELENGTHS)
    figure = plot_table({"observed": rows, "mean": rows.fillna(9.0)})
    assert titles(figure)[:2] == ["observed", "mean"]
    center, spread = np.nanmean(rows, 0), np.nanstd(rows, 0)
    for axes, table in zip(figure.axes, (rows, rows.fillna(9.0)), strict=False):
        shown = axes.images[0].get_array()
        np.testing.assert_allclose(shown.filled(np.nan), (table.values - center) / spread)
    missing = figure.axes[0].images[0].get_array().mask
    assert missing.tolist() == rows.isnull().values.tolist()


def test_traversals_share_one_scale_so_that_an_idle_latent_looks_idle():
    moved = np.stack([RANDOM.normal(size=(5, 9)), np.zeros((5, 9))])
    traversal = xr.DataArray(
        moved, {"latent": [4, 1], "kl": ("latent", [2.0, 0.01]), "column": WAVELENGTHS}, ("latent", "step", "column")
    )
    figure = plot_row_traversals(traversal)
    assert titles(figure) == ["z4, KL 2.0 nats", "z1, KL 0.010 nats"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for place, axes in enumerate(figure.axes):
        np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], moved[place])


@pytest.mark.parametrize(
    ("draw", "line"),
    [
        (lambda rows: plot_rows(rows.rename(column="entry"), drawn(rows)), "observed: got dims"),
        (lambda rows: plot_rows(rows, drawn(rows[:2])), "drawn: got shape .2, 9., expected that of observed"),
        (lambda rows: plot_rows(rows, drawn(rows)[["mean"]]), "drawn: no variable 'lower'"),
        (lambda _: plot_table({}), "tables: got none, expected at least one name"),
        (lambda rows: plot_table({"a": rows, "b": rows[:2]}), "b: got shape .2, 9., expected that of the first"),
        (lambda rows: plot_row_traversals(rows), "traversal: got dims"),
    ],
)
def test_what_does_not_fit_is_one_line(draw, line):
    with pytest.raises(UserError, match=line) as caught:
        draw(observed(WAVELENGTHS))
    assert "\n" not in str(caught.value)
