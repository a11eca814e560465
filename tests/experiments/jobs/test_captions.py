"""Captions of studies say what is in their data: of made data, the numbers that were put in."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from omegaconf import OmegaConf

from experiments.figures import off_diagonal
from experiments.jobs import capacity_sprites, choose, levy
from experiments.jobs.two_view import clusters, samples
from experiments.sweeps import page
from ppvae.metrics import clustering_accuracy

PIXELS = ("channel", "row", "column")


def images(levels: np.ndarray, *dims: str) -> xr.DataArray:
    """Images of 4 × 4 pixels, each of one level."""
    return xr.DataArray(np.broadcast_to(levels[..., None, None, None], (*levels.shape, 1, 4, 4)), dims=(*dims, *PIXELS))


def test_capacity_says_when_half_of_each_factor_is_known():
    explained = [[0.1, 0.6, -0.1], [0.7, 0.4, -0.1], [0.9, 0.9, 0.2]]
    progress = xr.Dataset(
        {
            "capacity": ("epoch", [5.0, 10.0, 20.0]),
            "rate": ("epoch", [4.0, 10.5, 17.0]),
            "explained": (("epoch", "factor"), explained),
        },
        {"epoch": [2, 4, 6], "factor": ["x", "size", "hue"]},
    )
    assert capacity_sprites._seen(progress) == (
        "The KL is at most 3.00 nats off its capacity, in epoch 6; half is known of size from epoch 2, x from epoch 4 "
        "and hue never."
    )


def test_the_circle_of_the_prior_holds_95_per_cent_of_its_draws():
    draws = np.random.default_rng(0).normal(size=(40_000, 2))
    code = xr.DataArray(draws, dims=("image", "latent"))
    assert levy._within(code) == pytest.approx(0.95, abs=0.004)
    assert levy._within(2 * code) == pytest.approx(1 - 0.05**0.25, abs=0.01)


@pytest.mark.parametrize(
    ("scores", "where"), [([0.2, 0.5, 0.3], "inside the range."), ([0.5, 0.3, 0.2], "at an end of the range, which")]
)
def test_a_search_says_where_its_best_value_lies(scores, where):
    data = "numbers.csv, 60 rows of 5 columns, real"
    results = pd.DataFrame({"value": [1.0, 4.0, 16.0], "score": scores, "rate": [9.0, 5.0, 1.0], "data": data})
    wanted = OmegaConf.create({"search": {"parameter": "objective.beta"}, "score": {"metric": "mig"}})
    figure = choose._figure(results, wanted)
    best = results["value"][int(np.argmax(scores))]
    assert figure.caption.startswith(f"The score is best, 0.500, at {best:.3g}, worst, 0.200, at ")
    assert where in figure.caption
    assert figure.alt.startswith("Two curves over 3 values of objective.beta: the score is best")


def test_a_sweep_says_where_a_metric_is_lowest_and_highest():
    metric = xr.DataArray([4.0, 2.0, 9.0, 9.0], {"value": ("run", [1, 1, 4, 16])}, "run", attrs={"long_name": "rate"})
    metric = metric.where([True, True, True, False])
    assert page._range(metric, "beta") == "rate is lowest, 3.00, at beta=1 and highest, 9.00, at beta=4"
    assert page._range(metric.clip(2, 2), "beta") == "rate is 2.00 throughout"
    alike = metric.copy(data=[4.0, 2.0, 3.9, 2.5]).assign_coords(value=("run", [1, 1, 4, 4]))  # √((2 + 0.98) / 2)
    assert page._range(alike, "beta") == "rate differs less by beta, 3.00 to 3.20, than among runs of one, ± 1.22"


def test_clusters_say_which_labels_have_none():
    """Of cluster 0 four in five are of label a; label c is the commonest of no cluster."""
    found = clustering_accuracy(
        xr.DataArray([0] * 5 + [1] * 3, dims="image"), xr.DataArray([0, 0, 0, 0, 2, 1, 1, 2], dims="image")
    )
    figure = clusters._assignments("model", found)
    assert figure.caption.startswith(
        "75.0% of 8 test images are of the commonest label of their cluster, one of 2 that are used; no cluster is "
        "mostly 2."
    )
    assert figure.alt.startswith("A heat map of 3 labels by 2 clusters: 75.0% of 8 test images")


def test_blocks_of_clusters_say_what_each_code_changes():
    sides = np.array([-1.0, 1.0])
    levels = 0.5 + 0.2 * sides[:, None, None] + 0.1 * sides[:, None] + 0.05 * sides
    blocks = images(levels, "block", "z_local", "z_global").assign_coords(
        block=["cluster 3: label 1", "cluster 0: label 2"]
    )
    figure = clusters._drawn("model", blocks)
    within = "within a block images differ by 0.05 along z_global and 0.1 along z_local a pixel"
    assert f"{within}, blocks' mean images by 0.2" in figure.caption
    assert figure.alt.startswith("2 blocks of 2 by 2 images")


def test_two_codes_say_what_each_changes():
    """Half of the hundred are darker by 0.1 with another z_local, by 0.2 with another z_global."""
    sides = np.resize([-1.0, 1.0], 100)
    blocks = {
        "z_local": images((0.5 + 0.1 * sides)[:, None], "z_local", "z_global"),
        "z_global": images((0.5 + 0.2 * sides)[None], "z_local", "z_global"),
    }
    caption = samples._codes(blocks, None).caption
    assert caption.endswith(
        "a pixel differs by 0.1 where z_local varies and 0.2 where z_global varies, an image's mean colour by 0.1 "
        "where z_local varies and 0.2 where z_global varies."
    )


def test_styles_say_which_image_is_nearer_in_colour():
    """Redrawn images that are those on top, beside styles a quarter lighter."""
    tops, styles = images(np.full(3, 0.5), "image"), images(np.full(2, 0.75), "style")
    figure = samples._styles(images(np.full((2, 3), 0.5), "style", "image"), tops, styles)
    assert "in mean colour they are 0 off the image on top and 0.25 off the one at the left" in figure.caption
    assert figure.alt.startswith("2 rows of 3 redrawn images")


def test_covariances_say_the_largest_off_the_diagonal():
    matrix = xr.DataArray([[2.0, -0.5], [-0.5, 1.0]], dims=("latent", "latent_"))
    assert off_diagonal({"mean": matrix, "sampled": matrix * 0}) == (
        "mean: the largest off the diagonal is 0.25; sampled: the largest off the diagonal is 0.00"
    )
