"""Spans of equal counts, and which of them is the answer."""

import numpy as np
import pytest
import xarray as xr

from ppvae import UserError
from ppvae.selection import chosen_plateau, plateaus, say_plateau, say_plateaus


def path_of(counts, latents=6, ratio=4.0, rule="by_ablation", **coords) -> xr.Dataset:
    """A path whose weights fall by ``ratio`` a level and on which so many latents are in."""
    into = np.arange(latents) < np.asarray(counts)[:, None]
    weights = 100.0 * ratio ** -np.arange(len(counts), dtype=float)
    return xr.Dataset({rule: (("level", "latent"), into)}, {"weight": ("level", weights), **coords})


def test_spans_are_told_with_their_weights_and_widths():
    found = plateaus(path_of([0, 0, 2, 2, 2, 3]))
    assert found["count"].values.tolist() == [0, 2, 3]
    assert found["first"].values.tolist() == [0, 2, 5]
    assert found["last"].values.tolist() == [1, 4, 5]
    np.testing.assert_allclose(found.from_weight, [100, 100 / 16, 100 / 4**5])
    np.testing.assert_allclose(found.width, [np.log(2), 2 * np.log(2), 0.0])  # σ√β falls by 2 a level
    assert found.ended.values.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("counts", "count"),
    [
        ([0, 0, 0, 0, 2, 2, 3, 6, 6, 6, 6], 2),  # neither nothing nor everything, however wide
        ([0, 1, 2, 2, 3, 3, 3, 4], 3),
        ([0, 1, 2, 3, 4, 5, 6], None),  # as many levels as latents enter
        ([0, 0, 0, 6, 6, 6], None),  # noise: all at once
        ([1, 1, 1, 1, 6], 1),
    ],
)
def test_the_widest_span_between_nothing_and_everything_is_the_answer(counts, count):
    found = chosen_plateau(path_of(counts))
    assert (None if found is None else int(found["count"])) == count


def test_it_is_said_in_one_sentence():
    noise = ("level", 0.1 * 2.0 ** -np.arange(5.0))
    assert say_plateau(path_of([0, 3, 3, 3, 4], noise=noise)) == "3 latents, from σ√β = 0.05 to 0.013"
    assert say_plateau(path_of([0, 0, 1, 1, 1])) == "1 latent, from β = 6.2 to 0.39, where the path ends"
    assert say_plateau(path_of([0, 6])).startswith("no number of latents holds")


def test_the_rule_may_be_another():
    path = path_of([1, 1, 2]).assign(by_kl=path_of([3, 3, 3])["by_ablation"])
    assert plateaus(path, "by_kl")["count"].values.tolist() == [3]
    assert plateaus(path.drop_vars("by_ablation")).attrs["rule"] == "by_kl"
    with pytest.raises(UserError, match=r"not by_variance \(level, latent\)"):
        plateaus(path, "by_variance")


def test_several_seeds_are_said_by_what_most_of_them_find():
    """Over the weights that those have in common."""
    three, later, four = path_of([0, 3, 3, 3, 4]), path_of([0, 0, 3, 3, 4]), path_of([0, 1, 4, 4, 4])
    assert say_plateaus([three, later, four]) == "3 latents, from β = 6.2 to 1.6, in 2 of 3 seeds; others 4"
    assert say_plateaus([four, four]) == "4 latents, from β = 6.2 to 0.39, where the path ends, in 2 of 2 seeds"
    assert say_plateaus([path_of([0, 6])]).endswith("in 1 of 1 seeds")
    with pytest.raises(UserError, match="paths is empty"):
        say_plateaus([])
