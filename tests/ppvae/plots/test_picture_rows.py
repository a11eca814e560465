"""Which picture stands where in the figures of a hierarchy."""

import numpy as np
import pytest
import xarray as xr

from ppvae.errors import UserError
from ppvae.plots import plot_interpolations, plot_kept_groups, plot_temperatures

PIXELS = ("channel", "row", "column")


def pictures(*sizes: int, dims: tuple[str, ...], seed: int = 0, **coords) -> xr.DataArray:
    return xr.DataArray(np.random.default_rng(seed).random((*sizes, 3, 4, 4)), coords, (*dims, *PIXELS))


def tile(axes, line: int, place: int) -> np.ndarray:
    """What is drawn there, (row, column, channel)."""
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        if (round((bottom + top) / 2), round((left + right) / 2)) == (line, place):
            return np.asarray(image.get_array())
    raise AssertionError("nothing is drawn there")


def as_drawn(array: xr.DataArray) -> np.ndarray:
    return array.transpose("row", "column", "channel").values


def names(axis) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels()]


def test_kept_groups_are_rows_beside_their_image():
    kept = pictures(3, 5, dims=("kept", "draw"), kept=[0, 1, 3], lowest=("kept", ["", "z_1", "z_3"]))
    image = pictures(dims=(), seed=1)
    axes = plot_kept_groups(kept, image).axes[0]
    assert names(axes.yaxis) == ["none kept", "1 kept, to z_1", "3 kept, to z_3"]
    assert names(axes.xaxis)[:2] == ["image", "draws"]
    np.testing.assert_array_equal(tile(axes, 2, 0), as_drawn(image))
    np.testing.assert_array_equal(tile(axes, 1, 4), as_drawn(kept[1, 3]))
    alone = plot_kept_groups(kept).axes[0]
    np.testing.assert_array_equal(tile(alone, 1, 4), as_drawn(kept[1, 4]))


def test_temperatures_are_rows():
    samples = {t: pictures(6, dims=("draw",), seed=k) for k, t in enumerate((1.0, 0.8, 0))}
    axes = plot_temperatures(samples).axes[0]
    assert names(axes.yaxis) == ["t = 1", "t = 0.8", "t = 0"]
    np.testing.assert_array_equal(tile(axes, 1, 2), as_drawn(samples[0.8][2]))


def test_paths_run_from_left_to_right():
    paths = pictures(2, 4, dims=("path", "step"), path=["0 to 1", "2 to 3"])
    axes = plot_interpolations(paths).axes[0]
    assert names(axes.yaxis) == ["0 to 1", "2 to 3"]
    assert names(axes.xaxis) == ["one image", "", "", "another"]
    np.testing.assert_array_equal(tile(axes, 1, 3), as_drawn(paths[1, 3]))
    np.testing.assert_array_equal(tile(plot_interpolations(paths[0]).axes[0], 0, 1), as_drawn(paths[0, 1]))


@pytest.mark.parametrize(
    ("draw", "line"),
    [
        (lambda: plot_kept_groups(pictures(2, dims=("kept",))), "expected .kept, draw, channel"),
        (
            lambda: plot_kept_groups(pictures(2, 2, dims=("kept", "draw")), pictures(dims=())[:, :2]),
            r"image is of shape \(3, 2, 4\)",
        ),
        (lambda: plot_temperatures({}), "one or more rows of one shape"),
        (
            lambda: plot_temperatures({1: pictures(2, dims=("draw",)), 0: pictures(3, dims=("draw",))}),
            "one or more rows of one shape",
        ),
        (lambda: plot_interpolations(pictures(2, dims=("draw",))), "expected .path, step, channel"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(draw, line):
    with pytest.raises(UserError, match=line) as caught:
        draw()
    assert "\n" not in str(caught.value)
