"""Local codes first, then both, then clusters: what each stage leaves is where the next one starts."""

from pathlib import Path
from typing import Any

import pyro.distributions as dist
import torch
from omegaconf import DictConfig
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import nn

from experiments.assemble import Parts
from ppvae import Program, TwoViewVAE, fit
from ppvae.errors import check_whole
from ppvae.evaluation import device_of, evaluating
from ppvae.priors import ClusterPrior, NormalPrior

__all__ = ["LocalGuide", "pretrain"]

IMAGES = 10_000  # whose codes place the clusters
AT_ONCE = 500


class _AtPrior(Messenger):
    """Draws ``z_global`` from N(0, I), whatever the program says."""

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["name"] == "z_global":
            loc = torch.zeros_like(msg["fn"].mean)
            msg["fn"] = dist.Normal(loc, torch.ones_like(loc)).to_event(1)


class LocalGuide(Program):
    """The guide with z_global at its prior, which says nothing of the image: only q(z_local | x̂) is left to learn."""

    def __init__(self, guide: nn.Module) -> None:
        super().__init__()
        self.guide = guide

    def forward(self, images: torch.Tensor) -> Any:
        with _AtPrior():
            return self.guide(images)


def pretrain(parts: Parts, configuration: DictConfig, directory: Path) -> None:
    """Train the pair's networks without clusters, in ``directory``, which k-means then places among the codes.

    ``pretraining.local`` epochs with z_global at its prior: what the view shows is then in z_local before z_global can
    take it. ``pretraining.codes`` epochs with both codes. Both may be 0; clusters are placed after the second stage.
    """
    wanted = configuration.pretraining
    for name in ("local", "codes"):
        check_whole(f"pretraining.{name}", wanted[name], 0)
    model, guide = parts.model, parts.guide
    prior = NormalPrior(model.prior_global.latents, site="z_global")
    plain = TwoViewVAE(prior, model.prior_local, model.likelihood, model.shuffled_likelihood, model.transformation)
    clusters, guide.clusters = guide.clusters, None
    if wanted.local:
        _train(plain, LocalGuide(guide), parts, configuration, wanted.local, directory / "local")
    if wanted.codes:
        _train(plain, guide, parts, configuration, wanted.codes, directory / "codes")
        if isinstance(model.prior_global, ClusterPrior):
            model.prior_global.place(*_moments(guide, parts, configuration.seed), seed=configuration.seed)
    guide.clusters = clusters


def _train(
    model: nn.Module, guide: nn.Module, parts: Parts, configuration: DictConfig, epochs: int, directory: Path
) -> None:
    trainer = configuration.trainer
    fit(
        model,
        guide,
        parts.data,
        parts.objective,
        epochs=epochs,
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


def _moments(guide: nn.Module, parts: Parts, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
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
