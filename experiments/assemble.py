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
        check_whole(f"posterior.{name}", number, 1 if name == "draws" else 2)
    data = instantiate(configuration.data, _convert_="all")
    configuration.image_shape = list(data.image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        model = VAE(_built(configuration.prior), _built(configuration.likelihood))
        guide = _built(configuration.guide)
    stopping = configuration.trainer.stopping
    return Parts(data, model, guide, _built(configuration.objective), None if stopping is None else _built(stopping))


def _built(group: DictConfig) -> Any:
    return instantiate(group, _convert_="all")
