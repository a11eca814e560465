"""Local codes first, then both, then clusters: what each stage leaves is where the next one starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyro.distributions as dist
import torch
from omegaconf import DictConfig
from pyro.poutine.messenger import Messenger
from torch import nn

from guides import TwoViewGuide
from ppvae import Program, TwoViewVAE
from ppvae.errors import check_whole
from ppvae.interventions.codes import global_moments
from ppvae.pair.untouched import device_of
from ppvae.priors import ClusterPrior, NormalPrior

from ...assemble import Parts
from ...fitting import fit_configured

__all__ = ["LocalGuide", "pretrain"]

IMAGES = 10_000  # whose codes place the clusters


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
    model, guide = cast(TwoViewVAE, parts.model), cast(TwoViewGuide, parts.guide)
    prior = NormalPrior(cast(NormalPrior | ClusterPrior, model.prior_global).latents, site="z_global")
    plain = TwoViewVAE(prior, model.prior_local, model.likelihood, model.shuffled_likelihood, model.transformation)
    clusters, guide.clusters = guide.clusters, None
    if wanted.local:
        _stage(plain, LocalGuide(guide), parts, configuration, wanted.local, directory / "local")
    if wanted.codes:
        _stage(plain, guide, parts, configuration, wanted.codes, directory / "codes")
        if isinstance(model.prior_global, ClusterPrior):
            images = parts.data.observed(slice(min(IMAGES, len(parts.data))), configuration.seed)
            moments = (moment.to(device_of(model)) for moment in global_moments(guide, images, seed=configuration.seed))
            model.prior_global.place(*moments, seed=configuration.seed)
    guide.clusters = clusters


def _stage(
    model: nn.Module, guide: nn.Module, parts: Parts, configuration: DictConfig, epochs: int, directory: Path
) -> None:
    """Train, or continue from the stage's own checkpoint."""
    resume = (directory / "checkpoint.pt").is_file()
    recipe = replace(parts.recipe, stopping=None)
    fit_configured(model, guide, parts, configuration, directory, epochs=epochs, resume=resume, recipe=recipe)
