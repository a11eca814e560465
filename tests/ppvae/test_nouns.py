"""What sentences call the things that a pair is of: found in the data, its description and a tree."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from ppvae.datasets import sprites, table
from ppvae.diagnostics.contents import noun_in
from ppvae.nouns import IMAGE, ROW, called, described_as, noun_of


def test_articles_and_plurals_go_with_the_noun():
    assert [f"{noun.a}, {noun.many}, {noun.a_pixel}, {noun.pixels}" for noun in (IMAGE, ROW, called("spectrum"))] == [
        "an image, images, a pixel, pixels",
        "a row, rows, an entry, entries",
        "a spectrum, spectrums, an entry, entries",
    ]
    assert (called("image"), called("row"), called(ROW)) == (IMAGE, ROW, ROW)


@pytest.mark.parametrize("kind", ["images", "rows"])
def test_the_noun_is_found_in_data_in_their_description_and_in_a_tree(kind, tmp_path):
    if kind == "images":
        data, noun, coords = sprites(size=4, seed=0), IMAGE, {}
    else:
        pd.DataFrame(np.eye(4)).to_csv(tmp_path / "3 rows of 2 columns.csv", index=False)
        data, noun = table(tmp_path / "3 rows of 2 columns.csv"), ROW
        coords = {"column_scale": ("column", np.ones(4))}
    assert noun_of(data) == noun_of(data.images) == described_as(data.description) == noun
    observed = xr.Dataset({"x": (("image", "column"), np.eye(4))}, coords)
    assert noun_in(xr.DataTree.from_dict({"observed_data": observed})) == noun


def test_what_does_not_say_is_of_images():
    assert noun_of(torch.zeros(2, 1, 4, 4)) == IMAGE
    assert noun_in(xr.DataTree()) == IMAGE
    assert described_as("rows of columns.npz, 60 images 1×8×8, real") == IMAGE
