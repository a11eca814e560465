"""From a composed configuration to data, pair and objective."""

import pkgutil
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from experiments.pairs import built, pair
from ppvae import Objective
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.svi import Plateau

__all__ = ["Parts", "assemble", "held_out", "training_data"]


@dataclass(frozen=True)
class Parts:
    """Everything a run trains and trains on."""

    data: ImageDataset
    model: torch.nn.Module
    guide: torch.nn.Module
    objective: Objective
    stopping: Plateau | None


def assemble(configuration: DictConfig) -> Parts:
    """Instantiate each group; networks are initialised from ``seed``, whatever was drawn before.

    Fills in what the networks refer to: ``image_shape`` from the data, ``maps`` from the likelihood. Annealing gets
    ``objective=``.
    """
    for name, number in configuration.posterior.items():  # now, not after the training
        check_whole(f"posterior.{name}", number, 1 if name == "draws" else 2)
    check_whole("diagnosis.images", configuration.diagnosis.images, 0)
    for name, least in (("draws", 2), ("simulations", 20)):
        check_whole(f"diagnosis.{name}", configuration.diagnosis[name], least)
    _check_held_out(configuration)
    data = training_data(configuration)
    configuration.image_shape = list(data.image_shape)
    configuration.maps = _maps(configuration.likelihood, data.image_shape[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        model, guide = pair(configuration)
    objective = built(configuration.objective)
    if configuration.get("annealing") is not None:
        objective = built(configuration.annealing)(objective=objective)
    stopping = configuration.trainer.stopping
    return Parts(data, model, guide, objective, None if stopping is None else built(stopping))


def training_data(configuration: DictConfig) -> ImageDataset:
    """The images that the configuration trains on, with what the pair is given beside them."""
    data = _with_inputs(instantiate(configuration.data, _convert_="all"), configuration)
    condition = configuration.get("condition")
    if condition is not None and condition.transformation is None:
        condition.levels = int(data.factors[condition.input].attrs["levels"])
    return data


def held_out(configuration: DictConfig) -> ImageDataset | None:
    """Images of the data's test split, drawn at random by ``seed``; None where the configuration wants none."""
    if configuration.held_out.images == 0:
        return None
    changes = {"split": "test", "size": configuration.held_out.images, "seed": configuration.seed}
    return _with_inputs(instantiate(configuration.data, _convert_="all", **changes), configuration)


def _with_inputs(data: ImageDataset, configuration: DictConfig) -> ImageDataset:
    """With the factor that ``condition`` names, or a transformation of the images under that name."""
    condition = configuration.get("condition")
    if condition is None:
        return data
    if condition.transformation is None:
        return data.with_inputs(condition.input)
    return data.with_inputs(**{condition.input: built(condition.transformation)(data.observed())})


def _check_held_out(configuration: DictConfig) -> None:
    check_whole("held_out.images", configuration.held_out.images, 0)
    for name in ("samples", "batch_size"):
        check_whole(f"held_out.{name}", configuration.held_out[name], 1)
    if configuration.held_out.images and "split" not in configuration.data:
        raise UserError(
            f"held_out.images={configuration.held_out.images}: these data have no test split; give held_out.images=0"
        )
    held_out(configuration)  # whether they can be read, too


def _maps(likelihood: DictConfig, channels: int) -> int:
    """Maps that the decoder must give: as the likelihood's class says, else one for each channel."""
    try:
        kind = pkgutil.resolve_name(likelihood._target_)
    except (ImportError, AttributeError, ValueError):
        return channels  # building it will say what is wrong
    settings = {key: value for key, value in likelihood.items() if key not in ("_target_", "decoder")}
    return kind.decoder_maps(channels, **settings) if hasattr(kind, "decoder_maps") else channels
