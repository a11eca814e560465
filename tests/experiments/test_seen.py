"""What captions say of pictures is what was measured by hand."""

import numpy as np
import pytest
import xarray as xr

from experiments.seen import beside_data, differ, explained, in_turn, sentence, shown, tones


def pictures(*levels: float, dim: str = "image") -> xr.DataArray:
    """Images of 2 × 2 pixels, each of one level."""
    return xr.DataArray(np.full((len(levels), 1, 2, 2), 0.0), dims=(dim, "channel", "row", "column")) + xr.DataArray(
        list(levels), dims=dim
    )


def test_images_differ_by_the_standard_deviation_of_a_pixel():
    assert differ(pictures(0.2, 0.6), "image") == pytest.approx(0.2)
    assert tones(pictures(0.1, 0.1)) == "They are dark and differ from each other by 0 a pixel."
    assert tones(pictures(0.7, 0.9)) == "They are light and differ from each other by 0.1 a pixel."


def test_what_nobody_sees_is_not_told_in_digits():
    assert [shown(size) for size in (0.0, 1.6e-8, 9e-5, 0.001, 0.0234)] == [
        *("0", "0", "less than 0.001", "0.001", "0.023")
    ]


def test_draws_stand_beside_images():
    said = beside_data(pictures(0.4, 0.6, dim="draw"), pictures(0.0, 1.0))
    assert said == "they differ from each other by 0.1 a pixel, training images by 0.5; a pixel's mean is 0.5 and 0.5"


@pytest.mark.parametrize(
    ("redrawn", "share"), [((0.0, 1.0), 1.0), ((0.5, 0.5), 0.0), ((0.25, 0.75), 0.75), ((1.0, 0.0), -3.0)]
)
def test_the_share_explained_is_one_less_the_error_over_the_variance(redrawn, share):
    assert explained(pictures(0.0, 1.0), pictures(*redrawn)) == pytest.approx(share)
    assert np.isnan(explained(pictures(0.5, 0.5), pictures(*redrawn)))


def test_things_are_told_in_turn():
    assert [in_turn(list(names)) for names in ("", "a", "ab", "abc", "abcdefgh")] == [
        *("", "a", "a and b", "a, b and c", "a, b, c, d, e and 3 more")
    ]
    assert sentence("it is so") == "It is so."
