"""Bumps are where their factor says, and of that form."""

import numpy as np
import pytest

from ppvae.datasets import bumps
from ppvae.errors import UserError


def test_a_bump_is_where_its_factor_says():
    data = bumps(500, seed=1, pixels=40, width=3.0, levels=64)
    images, x = data.images[:].numpy()[:, 0, 0], data.factors["x"]
    centres = np.array(x.attrs["values"])[x.values]
    assert data.image_shape == (1, 1, 40)
    np.testing.assert_allclose(images @ np.arange(40) / images.sum(1), centres, atol=0.25)  # but for cut-off tails
    expected = np.exp(-((np.arange(40) - centres[:, None]) ** 2) / 18)
    np.testing.assert_allclose(images, expected, atol=0.5 / 255 + 1e-6)
    assert centres.min() >= 6
    assert centres.max() <= 33


def test_all_levels_are_drawn_by_the_seed_alone():
    one, again, other = (bumps(2000, seed=seed).factors["x"].values for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one != other).any()
    counts = np.bincount(bumps(25_600, seed=3).factors["x"].values, minlength=256)
    assert ((counts - 100) ** 2 / 100).sum() < 344  # χ² of 255 degrees of freedom, 0.9998


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size=0"),
        ({"width": 0.0}, "width=0.0"),
        ({"pixels": 9}, "pixels=9: .*at least 10"),
        ({"seed": -1}, "seed"),
    ],
)
def test_sizes_that_cannot_be_end_in_one_line(wrong, said):
    with pytest.raises(UserError, match=said):
        bumps(**wrong)
