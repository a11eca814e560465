"""Clusters against labels: brute force, renaming, reference values."""

from itertools import permutations

import numpy as np
import pytest
import xarray as xr

from ppvae.errors import UserError
from ppvae.metrics import adjusted_rand_index, clustering_accuracy, normalised_mutual_information

RULES = ("many_to_one", "one_to_one")


def named(values) -> xr.DataArray:
    return xr.DataArray(np.asarray(values), dims="image")


def brute_force(clusters: np.ndarray, labels: np.ndarray) -> float:
    """The best of all one-to-one assignments, the smaller side padded with names that no image has."""
    size = max(clusters.max(), labels.max()) + 1
    return max(np.mean(np.array(order)[clusters] == labels) for order in permutations(range(size)))


@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (3, 6)])
@pytest.mark.parametrize("seed", range(4))
def test_one_to_one_is_the_best_of_all_assignments(shape, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, shape[1], 60)
    clusters = np.where(rng.random(60) < 0.4, labels % shape[0], rng.integers(0, shape[0], 60))
    found = clustering_accuracy(named(clusters), named(labels), rule="one_to_one")
    assert float(found["score"]) == pytest.approx(brute_force(clusters, labels), abs=1e-12)
    assert (found["assignment"].sum("cluster") <= 1).all()
    assert (found["assignment"].sum("label") <= 1).all()


def test_many_to_one_takes_each_clusters_commonest_label():
    clusters = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    labels = [7, 7, 9, 9, 9, 7, 7, 9, 7]
    found = clustering_accuracy(named(clusters), named(labels))
    assert found["score"] == 7 / 9
    assert found["assigned"].values.tolist() == [7, 9, 7]
    assert found["counts"].values.tolist() == [[2, 1], [0, 2], [3, 1]]
    assert found["score"].attrs["chance"] == 5 / 9
    one = clustering_accuracy(named(clusters), named(labels), rule="one_to_one")
    assert one["score"] == 5 / 9
    assert sorted(one["assigned"].values.tolist()) == [-1, 7, 9]


@pytest.mark.parametrize("seed", range(3))
def test_names_of_clusters_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 200)
    clusters = np.where(rng.random(200) < 0.6, labels, rng.integers(0, 7, 200))
    renamed = rng.permutation(7)[clusters] * 11 - 20
    for rule in RULES:
        scores = [clustering_accuracy(named(c), named(labels), rule=rule)["score"] for c in (clusters, renamed)]
        assert scores[0] == scores[1]
    for index in (normalised_mutual_information, adjusted_rand_index):
        assert float(index(named(clusters), named(labels))) == pytest.approx(
            float(index(named(renamed), named(labels)))
        )


def test_equal_clusterings_score_one_and_one_cluster_nothing():
    labels = np.arange(60) % 3
    for rule in RULES:
        assert clustering_accuracy(named(5 - labels), named(labels), rule=rule)["score"] == 1
        assert clustering_accuracy(named(0 * labels), named(labels), rule=rule)["score"] == 1 / 3
    for index in (normalised_mutual_information, adjusted_rand_index):
        assert float(index(named(5 - labels), named(labels))) == pytest.approx(1)
        assert float(index(named(0 * labels), named(labels))) == pytest.approx(0)


def test_a_cluster_an_image_is_right_many_to_one_only():
    labels = np.arange(60) % 3
    assert clustering_accuracy(named(np.arange(60)), named(labels))["score"] == 1
    assert clustering_accuracy(named(np.arange(60)), named(labels), rule="one_to_one")["score"] == 3 / 60


def test_indices_of_two_pairs_one_broken():
    """Labels 0011, clusters 0012. I = ln 2, H = ln 2 and 1½ ln 2: NMI = 2 / 2½. Pairs: 1 in both, 2 and 1 in either of
    6, expected 2 · 1 / 6: ARI = (1 − ⅓) / (1½ − ⅓)."""
    assert float(normalised_mutual_information(named([0, 0, 1, 2]), named([0, 0, 1, 1]))) == pytest.approx(0.8)
    assert float(adjusted_rand_index(named([0, 0, 1, 2]), named([0, 0, 1, 1]))) == pytest.approx(4 / 7)


def test_chance_is_nought_for_the_adjusted_index_only():
    """Independent clusters, 50 draws of 100 images into 10: ARI's mean is 0 within four standard errors."""
    rng = np.random.default_rng(0)
    pairs = [(named(rng.integers(0, 10, 100)), named(rng.integers(0, 10, 100))) for _ in range(50)]
    rand = [float(adjusted_rand_index(*pair)) for pair in pairs]
    assert abs(np.mean(rand)) < 4 * np.std(rand) / np.sqrt(50)
    assert np.mean([float(normalised_mutual_information(*pair)) for pair in pairs]) > 0.1


def test_images_are_looked_up_by_name():
    labels = xr.DataArray(np.arange(60) % 3, dims="image", coords={"image": np.arange(60)})
    shuffled = labels.isel(image=np.random.default_rng(0).permutation(60)[:40])
    assert clustering_accuracy(shuffled, labels)["score"] == 1


@pytest.mark.parametrize("metric", [clustering_accuracy, normalised_mutual_information, adjusted_rand_index])
def test_mistakes_end_in_one_line(metric):
    labels = named(np.arange(6) % 3)
    cases = [
        (labels.values, labels, "clusters came as ndarray"),
        (labels / 2, labels, "clusters came as float64"),
        (labels, labels.rename(image="i"), "labels came as int64 with dims"),
        (labels, labels[:4], "labels came with 4 images, clusters with 6"),
        (labels, 0 * labels, "all alike"),
        (labels[:0], labels[:0], "labels of 0 images"),
    ]
    for clusters, wanted, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            metric(clusters, wanted)
        assert "\n" not in str(caught.value)


def test_another_rule_ends_in_one_line():
    with pytest.raises(UserError, match="expected one of many_to_one, one_to_one"):
        clustering_accuracy(named([0, 1]), named([0, 1]), rule="hungarian")
