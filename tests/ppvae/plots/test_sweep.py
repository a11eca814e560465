"""Small multiples of a sweep: where the dots and means are, the axis, and what is left open."""

import numpy as np
import pytest
import xarray as xr

from ppvae import UserError
from ppvae.plots import plot_sweep


def runs(values: list, *metrics: str, series: list[str] | None = None) -> xr.Dataset:
    """Metric k of run i is 10 i + k."""
    found = {name: ("run", 10.0 * np.arange(len(values)) + k) for k, name in enumerate(metrics)}
    coordinates = {"value": ("run", values, {"long_name": "objective.beta"})}
    return xr.Dataset(found, coordinates | ({} if series is None else {"series": ("run", series)}))


def means(axes) -> dict[str, list[tuple[float, float]]]:
    """The points of each line of means, by its label."""
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in lines}


def test_each_metric_has_a_panel_of_runs_and_their_means():
    figure = plot_sweep(runs([1, 1, 4, 4], "rate", "dci"))
    rate, dci = figure.axes
    assert [axes.get_title(loc="left") for axes in (rate, dci)] == ["rate", "dci"]
    assert rate.get_xlabel() == "objective.beta"
    np.testing.assert_array_equal(rate.lines[0].get_xydata(), [[1, 0], [1, 10], [4, 20], [4, 30]])
    (line,) = [line.get_xydata() for line in dci.lines[1:]]
    np.testing.assert_array_equal(line, [[1, 6], [4, 26]])
    assert rate.get_xscale() == "linear"


@pytest.mark.parametrize(
    ("values", "scale"), [([1, 4, 16], "log"), ([0, 1, 100], "symlog"), ([-1, 1, 100], "linear"), ([5, 6, 7], "linear")]
)
def test_values_over_a_decade_are_drawn_by_their_logarithm(values, scale):
    (axes,) = plot_sweep(runs(values, "rate")).axes
    assert axes.get_xscale() == scale
    assert [float(place) for place in axes.get_xticks()] == values


def test_series_have_lines_of_their_own_and_a_gap_where_nothing_is_known():
    found = runs([1, 2, 3, 1, 2, 3], "rate", series=["a", "a", "a", "b", "b", "b"])
    found["rate"][1] = np.nan
    figure = plot_sweep(found)
    lines = means(figure.axes[0])
    assert lines["b"] == [(1, 30), (2, 40), (3, 50)]
    assert lines["a"][::2] == [(1, 0), (3, 20)]
    assert np.isnan(lines["a"][1][1])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_words_are_ticked_and_not_joined():
    (axes,) = plot_sweep(runs(["normal", "vamp", "normal"], "rate")).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["normal", "vamp"]
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[0, 10], [1, 10]])
    assert axes.lines[1].get_linestyle() == "None"


def test_runs_without_values_are_refused():
    with pytest.raises(UserError, match="no variable 'value'"):
        plot_sweep(xr.Dataset({"rate": ("run", [1.0])}))
