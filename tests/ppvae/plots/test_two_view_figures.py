"""Figures of two codes: what stands where, and one line for what cannot be drawn."""

import numpy as np
import pytest
import xarray as xr

from ppvae.errors import UserError
from ppvae.metrics import clustering_accuracy
from ppvae.plots import plot_accuracies, plot_assignments, plot_image_blocks, plot_style_transfer

PIXELS = ("channel", "row", "column")


def pictures(*sizes: int, dims: tuple[str, ...], value: float | None = None) -> xr.DataArray:
    values = np.random.default_rng(0).random((*sizes, 3, 4, 4)) if value is None else np.full((*sizes, 3, 4, 4), value)
    return xr.DataArray(values, dims=(*dims, *PIXELS))


def tiles(axes) -> dict[tuple[int, int], np.ndarray]:
    """What is drawn at each (line, place)."""
    found = {}
    for image in axes.images:
        left, right, bottom, top = image.get_extent()
        found[round((bottom + top) / 2), round((left + right) / 2)] = np.asarray(image.get_array())
    return found


def test_a_transfer_has_images_on_top_and_styles_at_the_left():
    inner = pictures(2, 3, dims=("style", "image"))
    top, left = pictures(3, dims=("image",), value=0.2), pictures(2, dims=("style",), value=0.7)
    drawn = tiles(plot_style_transfer(inner, top, left).axes[0])
    assert set(drawn) == {(line, place) for line in range(3) for place in range(4)}
    assert all((drawn[0, place] == 0.2).all() for place in (1, 2, 3))
    assert all((drawn[line, 0] == 0.7).all() for line in (1, 2))
    wanted = inner.transpose("style", "image", "row", "column", "channel").values
    np.testing.assert_array_equal(drawn[2, 3], wanted[1, 2])


def test_blocks_are_panels_with_global_codes_to_the_right():
    blocks = {f"cluster {k}": pictures(2, 3, dims=("z_local", "z_global")) for k in range(5)}
    figure = plot_image_blocks(blocks, per_line=2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(blocks)
    assert figure.get_supxlabel() == "z_global →"
    wanted = blocks["cluster 4"].transpose("z_local", "z_global", "row", "column", "channel").values
    np.testing.assert_array_equal(tiles(figure.axes[4])[1, 2], wanted[1, 2])
    assert plot_image_blocks(blocks, varied=None).get_supxlabel() == ""


def test_assignments_are_sorted_by_their_commonest_label():
    clusters = xr.DataArray([0, 0, 1, 1, 1, 2], dims="image")
    labels = xr.DataArray([7, 7, 3, 3, 7, 3], dims="image")
    figure = plot_assignments(clustering_accuracy(clusters, labels))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["3", "7"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "0"]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[2, 1, 0], [1, 0, 2]])
    assert figure.get_suptitle() == "clustering accuracy, many to one 0.833"


def test_a_bar_is_as_high_as_its_accuracy():
    figure = plot_accuracies({"one": {"a": 0.9, "b": 0.1}, "two": {"a": 0.5, "b": 0.4}}, chance=0.12)
    axes = figure.axes[0]
    assert [round(bar.get_height()) for bar in axes.patches] == [90, 50, 10, 40]
    assert [text.get_text() for text in axes.texts] == ["90", "50", "10", "40"]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(12)


@pytest.mark.parametrize(
    ("draw", "line"),
    [
        (lambda: plot_image_blocks({}), "one or more blocks of one shape"),
        (
            lambda: plot_style_transfer(
                pictures(2, 3, dims=("style", "image")), pictures(2, dims=("image",)), pictures(2, dims=("style",))
            ),
            "got 2 styles and 2 images",
        ),
        (lambda: plot_assignments(xr.Dataset({"score": 1.0})), "no variable 'counts'"),
        (lambda: plot_accuracies({"one": {"a": 1.2}}), "expected shares in"),
        (lambda: plot_accuracies({"one": {"a": 1.0}, "two": {"b": 1.0}}), "the same kinds of image"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(draw, line):
    with pytest.raises(UserError, match=line) as caught:
        draw()
    assert "\n" not in str(caught.value)
