"""Figures of labels say how often the classifier is right, and which labels it mistakes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from experiments.label_figures import labels_named, samples_figure
from ppvae.nouns import ROW


def named(counts: list[list[int]], noun=None) -> str:
    levels = ["a", "b", "c"]
    table = xr.Dataset(
        {"counts": (("label", "named"), counts), "score": sum(counts[k][k] for k in range(3)) / sum(map(sum, counts))},
        {"label": levels, "named": levels},
    )
    data = torch.zeros(1) if noun is None else SimpleNamespace(noun=noun)
    (figure,) = labels_named(SimpleNamespace(data=data), SimpleNamespace(labels=table))
    assert figure.alt.startswith("A heat map of 3 labels by 3 names")
    return figure.caption


def test_the_most_frequent_mistakes_are_named():
    said = named([[8, 2, 0], [0, 10, 0], [1, 3, 16]])
    assert said.startswith(
        "85.0% of 40 images that no training saw have their own label; most mistaken: c called b (3 of 20), "
        "a called b (2 of 10) and c called a (1 of 20)."
    )
    assert named([[5, 0, 0], [0, 5, 0], [0, 0, 5]], ROW).startswith(
        "100.0% of 15 rows that no training saw have their own label; none is mistaken."
    )


@pytest.mark.parametrize(("by_label", "by_code", "most"), [(0.4, 0.2, "the label"), (0.1, 0.3, "the code")])
def test_what_changes_the_image_more_is_said(by_label, by_code, most):
    """Two labels and two codes, either of which moves every pixel by so much to both sides of a half."""
    sides = np.array([-1.0, 1.0])
    levels = 0.5 + by_label * sides[:, None] + by_code * sides
    dims = ("given", "draw", "channel", "row", "column")
    drawn = xr.DataArray(np.broadcast_to(levels[:, :, None, None, None], (2, 2, 1, 4, 4)), dims=dims)
    figure = samples_figure("samples", "shape", ["disc", "bar"], drawn)
    assert "a row for each shape, from disc at the top to bar, a column for each of 2 codes" in figure.caption
    seen = f"rows' means differ from each other by {by_label} a pixel, columns' by {by_code}: {most} changes"
    assert seen in figure.caption
    assert figure.alt.startswith("2 rows of 2 images")
