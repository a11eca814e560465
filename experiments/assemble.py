"""From a composed configuration to data, pair and objective."""

import pkgutil
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from ppvae import VAE, Objective
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
    objective: Objective
    stopping: Plateau | None


def assemble(configuration: DictConfig) -> Parts:
    """Instantiate each group; networks are initialised from ``seed``, whatever was drawn before.

    Fills in what the networks refer to: ``image_shape`` from the data, ``maps`` from the likelihood. A prior that
    shares the guide's encoder is configured with ``_partial_: true`` and gets ``guide=``; annealing ``objective=``.
    """
    for name, number in configuration.posterior.items():  # now, not after the training
        check_whole(f"posterior.{name}", number, 1 if name == "draws" else 2)
    data = instantiate(configuration.data, _convert_="all")
    configuration.image_shape = list(data.image_shape)
    configuration.maps = _maps(configuration.likelihood, data.image_shape[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        prior, likelihood, guide = (_built(configuration[name]) for name in ("prior", "likelihood", "guide"))
        model = VAE(prior(guide=guide) if isinstance(prior, partial) else prior, likelihood)
    objective = _built(configuration.objective)
    if configuration.get("annealing") is not None:
        objective = _built(configuration.annealing)(objective=objective)
    stopping = configuration.trainer.stopping
    return Parts(data, model, guide, objective, None if stopping is None else _built(stopping))


def _maps(likelihood: DictConfig, channels: int) -> int:
    """Maps that the decoder must give: as the likelihood's class says, else one for each channel."""
    try:
        kind = pkgutil.resolve_name(likelihood._target_)
    except (ImportError, AttributeError, ValueError):
        return channels  # building it will say what is wrong
    settings = {key: value for key, value in likelihood.items() if key not in ("_target_", "decoder")}
    return kind.decoder_maps(channels, **settings) if hasattr(kind, "decoder_maps") else channels


def _built(group: DictConfig) -> Any:
    return instantiate(group, _convert_="all")
