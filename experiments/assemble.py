"""From a composed configuration to data, pair and objective."""

from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ppvae import VAE, BetaELBO
from ppvae.datasets import ImageDataset
from ppvae.errors import check_whole
from ppvae.svi import Plateau

__all__ = ["Parts", "assemble"]


@dataclass(frozen=True)
class Parts:
    """Everything a run trains and trains on."""

    data: ImageDataset
    model: VAE
    guide: torch.nn.Module
    objective: BetaELBO
    stopping: Plateau | None


def assemble(configuration: DictConfig) -> Parts:
    """Instantiate each group; networks are initialised from ``seed``, whatever was drawn before.

    Fills in ``image_shape`` from the data, which the networks refer to.
    """
    for name, number in configuration.posterior.items():  # now, not after the training
        check_whole(f"posterior.{name}", number, 1)
    data = instantiate(configuration.data, _convert_="all")
    configuration.image_shape = list(data.image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        model = VAE(_built(configuration.prior), _built(configuration.likelihood))
        guide = _built(configuration.guide)
    return Parts(data, model, guide, _built(configuration.objective), _stopping(configuration, model))


def _built(group: DictConfig, **arguments: Any) -> Any:
    return instantiate(group, _convert_="all", **arguments)


def _stopping(configuration: DictConfig, model: VAE) -> Plateau | None:
    """The stopping rule, blind to the constant of a normal likelihood as the paper's Eq. 8 is."""
    rule = configuration.trainer.stopping
    return None if rule is None else _built(rule, floor=getattr(model.likelihood, "distortion_floor", 0.0))
