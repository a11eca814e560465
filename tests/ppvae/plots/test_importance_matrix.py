"""The importance matrix: a cell a pair, numbers in per cent, scores above."""

import matplotlib
import numpy as np
import pytest
import xarray as xr

from ppvae.errors import UserError
from ppvae.plots import plot_importance_matrix


def importance(values, **scores: float) -> xr.Dataset:
    coords = {"factor": ["shape", "x"], "latent": [7, 2, 0]}
    table = xr.DataArray(np.asarray(values, dtype=float), dims=("factor", "latent"), coords=coords)
    return xr.Dataset({"importance": table, **scores})


TABLE = [[0.9, 0.098, 0.002], [0.0, 1.0, 3.0]]


def test_rows_are_shares_in_per_cent(tmp_path):
    before = dict(matplotlib.rcParams)
    figure = plot_importance_matrix(importance(TABLE).transpose("latent", "factor"))
    assert dict(matplotlib.rcParams) == before
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.9, 0.098, 0.002], [0, 0.25, 0.75]])
    assert axes.images[0].get_clim() == (0, 1)
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "90", (1, 0): "10", (1, 1): "25", (2, 1): "75"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z7", "z2", "z0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shape", "x"]
    figure.savefig(tmp_path / "figure.png", dpi=50)
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"


def test_scores_stand_above_where_there_are_some():
    figure = plot_importance_matrix(importance(TABLE, score=0.953, mean_completeness=0.5, mean_informativeness=0.1))
    title = figure.get_suptitle()
    assert [part in title for part in ("disentanglement 0.95", "completeness 0.50", "informativeness 0.10")] == [
        True
    ] * 3
    assert plot_importance_matrix(importance(TABLE)).get_suptitle() == "importance, per cent"


def test_a_factor_without_importance_is_an_empty_row():
    axes = plot_importance_matrix(importance([[0, 0, 0], [1, 0, 0]])).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0, 0, 0], [1, 0, 0]])
    assert [text.get_text() for text in axes.texts] == ["100"]


def test_no_text_is_cut_off():
    wide = xr.DataArray(np.full((5, 15), 1 / 15), dims=("factor", "latent"), coords={"factor": list("abcde")})
    narrow = importance(TABLE, score=0.9, mean_completeness=0.5, mean_informativeness=0.1)
    long = narrow.assign_coords(factor=["orientation of the sprite", "x"])
    for dataset in (wide.to_dataset(name="importance").assign(score=0.5), narrow, long):
        figure = plot_importance_matrix(dataset)
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        axes = figure.axes[0]
        texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
        boxes = [text.get_window_extent() for text in (*texts, figure._suptitle)]
        assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for b in boxes)


def test_mistakes_end_in_one_line():
    cases = [
        (importance(TABLE).rename(latent="k"), "expected \\(factor, latent\\)"),
        (importance(TABLE).drop_vars("importance"), "no variable 'importance'"),
        (importance([[-1, 0, 0], [1, 0, np.nan]]), "2 entries are negative or not finite"),
        (None, "expected an xarray.Dataset"),
    ]
    for wrong, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            plot_importance_matrix(wrong)
        assert "\n" not in str(caught.value)
