"""Clusters of the global code held against labels (the paper's Exp. 2.1 and 2.2)."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
import xarray as xr
from omegaconf import DictConfig
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from ppvae import UserError, from_pyro_svi, read_posterior, two_codes, vary, write_posterior
from ppvae.datasets import ImageDataset
from ppvae.metrics import adjusted_rand_index, clustering_accuracy, normalised_mutual_information
from ppvae.plots import plot_assignments, plot_image_blocks
from ppvae.priors import ClusterPrior

from ...labels import labelled
from ...report import ReportFigure
from ...seen import differ, in_turn, shown
from .classifier import labels_of
from .pretraining import pretrain
from .runs import TRAINED_PAIR, TwoViewRun, bounds, checked, train_pair, write_metrics

__all__ = ["assigned", "figures", "train_and_cluster"]

COMPONENTS = 50  # of PCA
SHOWN = 12  # blocks of Fig. 6
ROWS = 6
COLUMNS = 8

AGREEMENT = {
    "acc": "ACC of the clusters, many to one",
    "acc_one_to_one": "ACC of the clusters, one to one (Hungarian)",
    "nmi": "NMI of the clusters",
    "ari": "adjusted Rand index of the clusters",
    "acc_of_ink": "ACC of the clusters against the ink, darker or lighter",
    "acc_of_digits": "ACC of the clusters against the number of digits",
    "acc_of_background": "ACC of the clusters against the background's hue",
    "clusters_used": "clusters used",
    "acc_kmeans_global": "ACC of k-means on z_global, many to one",
    "acc_kmeans_both": "ACC of k-means on both codes, many to one",
    "acc_kmeans_pca": "ACC of k-means on the pixels' PCA, many to one",
    "nmi_kmeans_global": "NMI of k-means on z_global",
    "nmi_kmeans_both": "NMI of k-means on both codes",
    "nmi_kmeans_pca": "NMI of k-means on the pixels' PCA",
}


@labelled(AGREEMENT | TRAINED_PAIR)
def train_and_cluster(configuration: DictConfig, directory: Path, *, resume: bool) -> None:
    """Train a pair with clusters and hold those of the test images against their labels, beside k-means on its codes
    and on the pixels' principal components; writes ``metrics.json``, ``clusters.zarr`` and ``blocks.zarr``."""
    parts, test = checked(configuration)
    labels = xr.DataArray(labels_of(test).numpy(), dims="image")
    if not isinstance(parts.model.prior_global, ClusterPrior):
        raise UserError("experiment=clusters needs prior=cluster and clusters=optimal, enumerated or relaxed")
    if not resume:
        pretrain(parts, configuration, directory / "pretraining")
    run = train_pair(parts, test, configuration, directory, resume=resume)
    clusters = assigned(run, configuration)
    metrics = (
        _agreement(clusters, labels, "") | _kmeans(run, labels, configuration.seed) | _found_instead(clusters, test)
    )
    metrics["clusters_used"] = len(np.unique(clusters))
    found = clustering_accuracy(clusters, labels)
    write_posterior(xr.DataTree(found), directory / "clusters.zarr")
    write_posterior(xr.DataTree(_blocks(run, found, configuration.seed)), directory / "blocks.zarr")
    write_metrics(run, {**metrics, **bounds(run, configuration)}, directory)


def assigned(run: TwoViewRun, configuration: DictConfig) -> xr.DataArray:
    """The most probable cluster of each test image, (image,)."""
    options = {"seed": configuration.seed, "batch_size": configuration.posterior.batch_size}
    tree = from_pyro_svi(run.parts.model, run.parts.guide, run.test.observed(), 1, **options)
    return tree["sample_stats"]["cluster_mean"].argmax("component").drop_vars("image")


def figures(configuration: DictConfig, directory: Path) -> list[ReportFigure]:
    """Figs. 4 and 6 of each model's first seed."""
    drawn = []
    for name in configuration.models:
        run = directory / name / f"seed{configuration.seeds[0]}"
        found = read_posterior(run / "clusters.zarr").to_dataset().load()
        blocks = read_posterior(run / "blocks.zarr").to_dataset().load()
        drawn += [_assignments(name, found), _drawn(name, blocks["x"])]
    return drawn


def _assignments(name: str, found: xr.Dataset) -> ReportFigure:
    """Which labels each cluster holds, and which labels have none."""
    counts, right = found["counts"], float(found["score"])
    without = [str(label) for label in counts["label"].values if label not in found["assigned"].values]
    seen = f"{right:.1%} of {int(counts.sum())} test images are of the commonest label of their cluster, one of "
    seen += f"{counts.sizes['cluster']} that are used"
    seen += f"; no cluster is mostly {' or '.join(without)}" if without else ""
    caption = f"{seen}. A row a label, a column a cluster, sorted by their commonest label (the paper's Fig. 4)."
    alt = f"A heat map of {counts.sizes['label']} labels by {counts.sizes['cluster']} clusters: {seen}."
    return ReportFigure(f"assignments_{name}", caption, plot_assignments(found), f"Labels and clusters: {name}", alt)


def _drawn(name: str, blocks: xr.DataArray) -> ReportFigure:
    """What the model draws of the largest clusters (block, z_local, z_global, …), and what each code changes."""
    within = [f"{shown(differ(blocks, code))} along {code}" for code in ("z_global", "z_local")]
    between = differ(blocks.mean(["z_global", "z_local"]), "block")
    seen = f"within a block images differ by {in_turn(within)} a pixel, blocks' mean images by {shown(between)}"
    caption = (
        f"What the model draws of its {blocks.sizes['block']} largest clusters, a block each, under the commonest "
        "label among test images; columns vary z_global within the cluster, rows z_local (the paper's Figs. 5, 6): "
        f"{seen}."
    )
    figure = plot_image_blocks({str(block): blocks.sel(block=block) for block in blocks["block"].values})
    alt = f"{blocks.sizes['block']} blocks of {blocks.sizes['z_local']} by {blocks.sizes['z_global']} images: {seen}."
    return ReportFigure(f"blocks_{name}", caption, figure, f"Images of each cluster: {name}", alt)


def _agreement(clusters: xr.DataArray, labels: xr.DataArray, suffix: str) -> dict[str, float]:
    many, one = (clustering_accuracy(clusters, labels, rule=rule) for rule in ("many_to_one", "one_to_one"))
    return {
        f"acc{suffix}": float(many["score"]),
        f"acc_one_to_one{suffix}": float(one["score"]),
        f"nmi{suffix}": float(normalised_mutual_information(clusters, labels)),
        f"ari{suffix}": float(adjusted_rand_index(clusters, labels)),
    }


def _found_instead(clusters: xr.DataArray, test: ImageDataset) -> dict[str, float]:
    """ACC, many to one, against every other factor of the images: what the clusters are of."""
    factors = test.table.drop_vars(["label", "image"], errors="ignore")
    levels = {name: xr.DataArray(factor.values, dims="image") for name, factor in factors.items()}
    varied = {name: level for name, level in levels.items() if level.min() < level.max()}
    return {f"acc_of_{name}": float(clustering_accuracy(clusters, level)["score"]) for name, level in varied.items()}


def _kmeans(run: TwoViewRun, labels: xr.DataArray, seed: int) -> dict[str, float]:
    """The same measures for k-means with as many clusters: on z_global, on both codes, on the pixels' PCA."""
    images = run.test.observed()
    z_global, z_local = two_codes(run.parts.guide, images, seed=seed)
    pixels = images.flatten(1).numpy()
    codes = {
        "_kmeans_global": z_global.numpy(),
        "_kmeans_both": torch.cat([z_global, z_local], -1).numpy(),
        "_kmeans_pca": PCA(min(COMPONENTS, *pixels.shape), random_state=seed % 2**32).fit_transform(pixels),
    }
    metrics: dict[str, float] = {}
    clusters = cast(ClusterPrior, run.model.prior_global).clusters
    for suffix, code in codes.items():
        found = KMeans(clusters, n_init=4, random_state=seed % 2**32).fit_predict(code)
        metrics |= _agreement(xr.DataArray(found, dims="image"), labels, suffix)
    return metrics


def _blocks(run: TwoViewRun, found: xr.Dataset, seed: int) -> xr.Dataset:
    """Images drawn from the largest clusters, (block, z_local, z_global, channel, row, column)."""
    sizes = found["counts"].sum("label")
    largest = sizes.sortby(-sizes)["cluster"].values[:SHOWN]
    names = [f"cluster {k}: label {int(found['assigned'].sel(cluster=k))}" for k in largest]
    blocks = [vary(run.model, COLUMNS, ROWS, cluster=int(k), seed=seed) for k in largest]
    return xr.Dataset({"x": xr.concat(blocks, "block")}, coords={"block": names})
