"""The diagnostics' figures draw their input and leave matplotlib as it was."""

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

from ppvae import plots
from ppvae.errors import UserError


def ranks(entries: int = 3) -> xr.Dataset:
    values = np.random.default_rng(0).random((200, entries))
    values[:, 1] = np.random.default_rng(1).beta(0.4, 0.4, 200)  # the U shape of a guide that is too narrow
    return xr.Dataset({"z": (("simulation", "latent"), values)}, coords={"latent": np.arange(entries)})


def importance() -> xr.Dataset:
    shape = np.r_[np.linspace(-0.2, 1.3, 28), -np.inf, np.nan]
    return xr.Dataset(
        {
            "pareto_k": ("image", shape, {"good": 0.5}),
            "effective_samples": ("image", np.linspace(1, 100, 30)),
        },
        attrs={"num_samples": 100},
    )


FIGURES = {
    "calibration": lambda: plots.plot_calibration(ranks()),
    "importance": lambda: plots.plot_importance(importance()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_draws_and_leaves_the_settings_alone(name, tmp_path):
    before, known = dict(matplotlib.rcParams), pyplot.get_fignums()
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == known
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert all(axes.get_xlabel() for axes in figure.axes)


def test_calibration_draws_the_ecdf_less_uniform_worst_first():
    given = ranks()
    figure = plots.plot_calibration(given)
    assert figure.axes[0].get_title(loc="left").split()[0] == "z[1]"
    assert {axes.get_title(loc="left").split()[0] for axes in figure.axes} == {"z[0]", "z[1]", "z[2]"}
    drawn = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata()))
    at, height = np.asarray(drawn.get_xdata()), np.asarray(drawn.get_ydata())
    expected = (given["z"].values[:, 1][:, None] <= at).mean(0) - at
    np.testing.assert_allclose(height, expected, atol=2 / 200)


def test_calibration_shows_no_more_panels_than_asked():
    assert len(plots.plot_calibration(ranks(9), max_entries=5).axes) == 5
    assert len(plots.plot_calibration(ranks(2)).axes) == 2


def test_importance_counts_the_images():
    left, right = plots.plot_importance(importance()).axes
    assert sum(bar.get_height() for bar in left.patches) == 29  # one without a fit
    assert sum(bar.get_height() for bar in right.patches) == 30
    above = int((np.linspace(-0.2, 1.3, 28) > 0.5).sum())
    assert left.get_title(loc="left") == f"k̂ too large for {above} of 30 images, 1 exact, 1 without a fit"
    assert [line.get_xdata()[0] for line in left.lines] == [0.5]


@pytest.mark.parametrize(("value", "name", "side"), [(np.inf, "∞", 1), (-np.inf, "−∞", -1)])
def test_an_infinite_shape_has_a_bar_of_its_own_beyond_the_axis(value, name, side):
    """One draw that holds all weight is the worst there is, and no image that may be left out."""
    shapes = importance().isel(image=slice(28))
    shapes["pareto_k"][:5] = value
    axes = plots.plot_importance(shapes).axes[0]
    *finite, bar = axes.patches
    assert (bar.get_height(), sum(one.get_height() for one in finite)) == (5, 23)
    assert side * bar.get_x() > max(side * one.get_x() for one in finite)
    ticks = {label.get_text(): place for label, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)}
    assert ticks[name] == pytest.approx(bar.get_x() + bar.get_width() / 2)


def test_no_p_value_is_written_out_further_than_anything_hangs_on_it():
    shifted = ranks()
    shifted["z"][:, 0] **= 8
    titles = [axes.get_title(loc="left") for axes in plots.plot_calibration(shifted).axes]
    assert titles[0] == "z[0]   p < 0.001"
    assert titles[-1].startswith("z[2]   p = 0.")


def test_mistakes_are_named_in_one_line():
    with pytest.raises(UserError, match="no variable 'pareto_k'"):
        plots.plot_importance(xr.Dataset())
    bare = importance()
    bare["pareto_k"].attrs = {}
    with pytest.raises(UserError, match="lacks the attribute good"):
        plots.plot_importance(bare)
    with pytest.raises(UserError, match=r"expected an xarray\.Dataset"):
        plots.plot_calibration(ranks()["z"])
    with pytest.raises(UserError, match="max_entries=0"):
        plots.plot_calibration(ranks(), max_entries=0)
