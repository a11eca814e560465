"""Clusters held against labels: accuracy under an assignment, mutual information, pairs."""

from typing import Literal, get_args

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from ppvae.errors import UserError, check_choice
from ppvae.metrics.inputs import paired_images

__all__ = ["adjusted_rand_index", "clustering_accuracy", "normalised_mutual_information"]

Rule = Literal["many_to_one", "one_to_one"]
UNASSIGNED = -1


def clustering_accuracy(clusters: xr.DataArray, labels: xr.DataArray, *, rule: Rule = "many_to_one") -> xr.Dataset:
    """Share of images whose cluster is assigned to their label, under the best assignment of clusters to labels.

    n_cy counts the images of cluster c and label y. ``many_to_one``: each cluster is its commonest label, Σ_c max_y
    n_cy / N, which more clusters can only raise, to 1 for a cluster an image. ``one_to_one``: max_π Σ_c n_cπ(c) / N
    over assignments π that give no label twice (Hungarian method); clusters or labels left over count as wrong.

    ``clusters``, ``labels``: integers (image); where both name their images, the labels are looked up by name. Returns
    ``score`` (its attrs name the rule and, as chance, the share of the commonest label), ``counts`` (cluster, label),
    ``assigned`` (cluster), a label or -1 for none, and ``assignment`` (cluster, label), 1 where assigned. What the
    clusters are called does not matter. The labels that assign are the labels that score: this is no held-out accuracy.
    It cannot see how a wrong image is wrong, nor, many to one, that a label fell apart into many clusters.
    Errors: :class:`~ppvae.errors.UserError` for other dims or kinds, other images, labels all alike and another rule.
    """
    check_choice("rule", rule, get_args(Rule))
    found, wanted = _matched(clusters, labels)
    names, cluster = np.unique(found, return_inverse=True)
    values, label = np.unique(wanted, return_inverse=True)
    counts = np.bincount(cluster * len(values) + label, minlength=len(names) * len(values))
    counts = counts.reshape(len(names), len(values))
    assignment = _commonest(counts) if rule == "many_to_one" else _one_to_one(counts)
    assigned = np.where(assignment.any(1), values[assignment.argmax(1)], UNASSIGNED)
    attrs = {"long_name": f"clustering accuracy, {rule.replace('_', ' ')}", "units": "1", "rule": rule}
    score = float((counts * assignment).sum() / counts.sum())
    return xr.Dataset(
        {
            "score": xr.DataArray(score, attrs=attrs | {"chance": float(counts.sum(0).max() / counts.sum())}),
            "counts": (
                ("cluster", "label"),
                counts,
                {"long_name": "images of this cluster and label", "units": "images"},
            ),
            "assigned": ("cluster", assigned, {"long_name": "label of this cluster", "unassigned": UNASSIGNED}),
            "assignment": (("cluster", "label"), assignment, {"long_name": "cluster is this label", "units": "1"}),
        },
        coords={"cluster": names, "label": values},
    )


def normalised_mutual_information(clusters: xr.DataArray, labels: xr.DataArray) -> xr.DataArray:
    """I(cluster; label) over the mean of both entropies, 2 I / (H(cluster) + H(label)): 0 for independent, 1 for equal.

    Takes what ``clustering_accuracy`` takes; returns a scalar. Not corrected for chance: many small clusters score
    above 0 on labels they know nothing of; the adjusted Rand index does not.
    Errors: :class:`~ppvae.errors.UserError` as ``clustering_accuracy`` does.
    """
    found, wanted = _matched(clusters, labels)
    score = normalized_mutual_info_score(wanted, found, average_method="arithmetic")
    attrs = {"long_name": "normalised mutual information of clusters and labels", "units": "1"}
    return xr.DataArray(float(score), name="normalised_mutual_information", attrs=attrs)


def adjusted_rand_index(clusters: xr.DataArray, labels: xr.DataArray) -> xr.DataArray:
    """Agreement of clusters and labels on which pairs of images belong together, less that of chance (Hubert, Arabie).

    (pairs alike in both − E) / (mean of pairs alike in either − E), E expected by chance: 0 by chance, 1 for equal,
    below 0 for worse than chance. Takes what ``clustering_accuracy`` takes; returns a scalar. It cannot see which label
    a cluster missed: large groups decide.
    Errors: :class:`~ppvae.errors.UserError` as ``clustering_accuracy`` does.
    """
    found, wanted = _matched(clusters, labels)
    attrs = {"long_name": "adjusted Rand index of clusters and labels", "units": "1", "chance": 0.0}
    return xr.DataArray(float(adjusted_rand_score(wanted, found)), name="adjusted_rand_index", attrs=attrs)


def _commonest(counts: np.ndarray) -> np.ndarray:
    return (np.arange(counts.shape[1]) == counts.argmax(1)[:, None]).astype(np.int64)


def _one_to_one(counts: np.ndarray) -> np.ndarray:
    """The Hungarian assignment; of a table that is not square, some rows or columns stay free."""
    assignment = np.zeros_like(counts)
    assignment[linear_sum_assignment(counts, maximize=True)] = 1
    return assignment


def _matched(clusters: xr.DataArray, labels: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    for name, array in (("clusters", clusters), ("labels", labels)):
        if not isinstance(array, xr.DataArray) or array.dims != ("image",) or array.dtype.kind not in "iub":
            found = f"{array.dtype} with dims {array.dims}" if isinstance(array, xr.DataArray) else type(array).__name__
            raise UserError(f"{name} came as {found}; expected integers (image): give the index of each image's group")
    labels = paired_images(clusters, labels, "clusters", "labels")
    if labels.size == 0 or labels.min() == labels.max():
        raise UserError(f"labels of {labels.size} images are all alike; expected two or more: leave clustering out")
    return clusters.values, labels.values
