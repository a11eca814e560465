"""The figure of a search: what it marks."""

import numpy as np
import pytest
import xarray as xr

from ppvae import UserError
from ppvae.plots import plot_search


def runs(scores: list[float]) -> xr.Dataset:
    values = np.geomspace(0.1, 10, len(scores))
    return xr.Dataset(
        {
            "score": ("value", scores, {"long_name": "mig"}),
            "rate": ("value", np.linspace(30, 5, len(scores)), {"long_name": "rate"}),
        },
        coords={"value": ("value", values, {"long_name": "objective.beta_norm"})},
    )


def test_the_best_value_is_marked_whatever_the_order():
    found = runs([0.1, 0.3, 0.5, 0.2])
    figure = plot_search(found.isel(value=[2, 0, 3, 1]))
    above, below = figure.axes
    np.testing.assert_allclose(above.lines[0].get_xdata(), found["value"])
    np.testing.assert_allclose(above.lines[0].get_ydata(), found["score"])
    np.testing.assert_allclose(below.lines[0].get_ydata(), found["rate"])
    best = float(found["value"][2])
    assert [float(axes.lines[1].get_xdata()[0]) for axes in (above, below)] == [best, best]
    assert [text.get_text() for text in above.texts] == ["best: 2.15"]
    assert below.get_xscale() == "log"
    assert (above.get_ylabel(), below.get_xlabel()) == ("mig", "objective.beta_norm")


def test_other_dims_end_in_one_line():
    with pytest.raises(UserError, match="score"):
        plot_search(runs([0.1, 0.2]).rename(value="trial"))
