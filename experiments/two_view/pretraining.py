"""Codes first, clusters then: a pair trained with a standard normal prior, whose codes say where clusters start."""

from pathlib import Path

import torch
from omegaconf import DictConfig
from pyro import poutine

from experiments.assemble import Parts
from ppvae import TwoViewVAE, fit
from ppvae.evaluation import device_of, evaluating
from ppvae.priors import NormalPrior

__all__ = ["place_clusters"]

IMAGES = 10_000  # whose codes place the clusters
AT_ONCE = 500


def place_clusters(parts: Parts, configuration: DictConfig, directory: Path) -> None:
    """Train the pair's networks for ``pretraining.epochs`` without clusters, in ``directory``; k-means places them.

    Clusters that start at random are given up but for one: each image goes to the nearest, which moves to it.
    """
    model, guide, trainer = parts.model, parts.guide, configuration.trainer
    prior = NormalPrior(model.prior_global.latents, site="z_global")
    plain = TwoViewVAE(prior, model.prior_local, model.likelihood, model.shuffled_likelihood, model.transformation)
    clusters, guide.clusters = guide.clusters, None
    fit(
        plain,
        guide,
        parts.data,
        parts.objective,
        epochs=configuration.pretraining.epochs,
        batch_size=trainer.batch_size,
        learning_rate=trainer.learning_rate,
        seed=configuration.seed,
        compile=trainer.compile,
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        directory=directory,
        resume=(directory / "checkpoint.pt").is_file(),
        progress=trainer.progress,
    )
    model.prior_global.place(*_moments(guide, parts, configuration.seed), seed=configuration.seed)
    guide.clusters = clusters


def _moments(guide: torch.nn.Module, parts: Parts, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and variances of q(z_global | x) of the first training images, (image, latent) each."""
    device = device_of(guide)
    found = []
    with evaluating(guide, device=device, seed=seed):
        for start in range(0, min(IMAGES, len(parts.data)), AT_ONCE):
            images = parts.data.observed(slice(start, min(start + AT_ONCE, IMAGES)), seed).to(device)
            site = poutine.trace(guide).get_trace(images).nodes["z_global"]["fn"]
            found.append((site.mean, site.variance))
    means, variances = (torch.cat(part) for part in zip(*found, strict=True))
    return means, variances
