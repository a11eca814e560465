"""From a composed configuration to data, pair and objective."""

from dataclasses import dataclass, replace

import torch
import xarray as xr
from omegaconf import DictConfig, ListConfig

from ppvae import Objective
from ppvae.datasets import ImageDataset
from ppvae.errors import UserError, check_whole
from ppvae.likelihoods import CountLikelihood
from ppvae.svi import Recipe, StoppingRule

from .endings import said_in_one_line
from .memory import check_data_size, check_draws, check_model_size
from .own_names import named
from .pairs import built, pair
from .some_labels import label_of, repeated, told, untold

__all__ = [
    "Parts",
    "assemble",
    "held_out",
    "images_apart",
    "maps_of",
    "stopping_rule",
    "training_data",
    "untrained_pair",
]


@dataclass(frozen=True)
class Parts:
    """Everything a run trains and trains on."""

    data: ImageDataset
    validation: ImageDataset | None
    model: torch.nn.Module
    guide: torch.nn.Module
    objective: Objective
    recipe: Recipe
    repeated: ImageDataset | None = None  # what an epoch visits, where that is not each image once


@said_in_one_line("the configuration makes no pair")
def assemble(configuration: DictConfig) -> Parts:
    """Instantiate each group; networks are initialised from ``seed``, whatever was drawn before.

    Fills in what the networks refer to: ``image_shape`` from the data, ``maps`` from the likelihood. Counts start at
    the means of the training rows. The penalty, then the annealing, which leaves it alone, then the term of the labels,
    get ``objective=``.
    """
    _check_posterior(configuration)
    _check_one_model(configuration)
    if configuration.get("labels") is not None:
        if configuration.labels.images is not None:
            check_whole("labels.images", configuration.labels.images, 0)
        images_apart(configuration, "labels.images", configuration.labels.images)
    check_whole("diagnosis.images", configuration.diagnosis.images, 0)
    if configuration.get("codes") is not None:
        check_whole("codes.images", configuration.codes.images, 0)
    for name, least in (("draws", 2), ("simulations", 20)):
        check_whole(f"diagnosis.{name}", configuration.diagnosis[name], least)
    _check_information(configuration)
    check_data_size(configuration.data, configuration.held_out.images)
    _check_held_out(configuration)
    data, validation = training_data(configuration)
    configuration.image_shape = list(data.image_shape)
    configuration.maps = maps_of(configuration.likelihood, data.image_shape[0])
    model, guide = untrained_pair(configuration)
    _start_at(model, data)
    check_draws(configuration, data.image_shape, len(data), model)
    objective = built(configuration.objective, Objective)
    labels = configuration.get("labels")
    for around in (configuration.get("penalty"), configuration.get("annealing"), labels and labels.objective):
        if around is not None:
            objective = built(around, Objective)(objective=objective)
    again = None if labels is None else repeated(data, labels)
    return Parts(data, validation, model, guide, objective, _recipe(configuration), again)


def _start_at(model: torch.nn.Module, data: ImageDataset) -> None:
    """Counts start at the means of the training rows' columns, as real columns do by their scaling."""
    for part in model.modules():
        if isinstance(part, CountLikelihood):
            part.start_at(data.observed())


def untrained_pair(configuration: DictConfig) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Model and guide as they begin, initialised from ``seed``; UserError where they do not fit into memory."""
    check_model_size(lambda: pair(configuration), configuration.trainer.accelerator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        return pair(configuration)


def stopping_rule(configuration: DictConfig) -> StoppingRule | None:
    """The trainer's."""
    stopping = configuration.trainer.get("stopping")
    return None if stopping is None else built(stopping, StoppingRule)


def _recipe(configuration: DictConfig) -> Recipe:
    """The group ``recipe``, with the trainer's learning rate and stopping rule."""
    changes = {"learning_rate": configuration.trainer.learning_rate, "stopping": stopping_rule(configuration)}
    return replace(built(configuration.recipe, Recipe), **changes)


def training_data(configuration: DictConfig) -> tuple[ImageDataset, ImageDataset | None]:
    """The images that the configuration trains on, and those of its validation, with what the pair is given."""
    data, validation = _parted(configuration)
    labels = configuration.get("labels")
    if labels is None:
        return data, validation
    labels.levels = label_of(data, labels).attrs["levels"]
    return told(data, labels, configuration.seed), validation


def _parted(configuration: DictConfig) -> tuple[ImageDataset, ImageDataset | None]:
    data = _with_inputs(built(configuration.data, ImageDataset), configuration)
    condition = configuration.get("condition")
    if condition is not None and condition.transformation is None:
        condition.levels = _levels(data.table[condition.input])
    share = configuration.validation
    if share is None:
        return data, None
    if not isinstance(share, str):
        return data.split(share, configuration.seed)
    if "split" not in configuration.data:
        raise UserError(f"validation={share}: these data have no split of that name; give a share, such as 0.1")
    return data, _of_split(configuration, share)


def _levels(factor: xr.DataArray) -> int:
    if "levels" not in factor.attrs:
        raise UserError(f"condition.input={factor.name}: a continuous factor, expected one of levels")
    return int(factor.attrs["levels"])


def _of_split(configuration: DictConfig, split: str, size: int | None = None) -> ImageDataset:
    """Images of a published split; ``size`` of them drawn at random by the seed, or all."""
    changes = {"split": split, "size": size, "seed": configuration.seed}
    return _with_inputs(built(configuration.data, ImageDataset, **changes), configuration)


def held_out(configuration: DictConfig) -> ImageDataset | None:
    """Images of the data's test split, drawn at random by ``seed``; None where the configuration wants none.

    Of data without splits the first images of the validation, the same for every run with these data and this seed.
    """
    return images_apart(configuration, "held_out.images", configuration.held_out.images)


def images_apart(configuration: DictConfig, key: str, wanted: int | None) -> ImageDataset | None:
    """So many images of the test split, else of the validation, as ``key`` wants, all of None; None of 0."""
    if wanted == 0:
        return None
    if "split" in configuration.data:
        return _of_split(configuration, "test", wanted)
    _, validation = training_data(configuration)
    if wanted is None:
        return validation
    if validation is None:
        raise UserError(f"{key}={wanted}: these data have no test split; give validation=0.1, or images=0")
    if wanted > len(validation):
        raise UserError(f"{key}={wanted} of the validation's {len(validation)}; give fewer, or a larger share")
    return validation.subset(slice(wanted))


def _with_inputs(data: ImageDataset, configuration: DictConfig) -> ImageDataset:
    """With the factor that ``condition`` names, or a transformation of the images under that name; with ``labels``
    all unknown, until some are told."""
    condition, labels = configuration.get("condition"), configuration.get("labels")
    if labels is not None:
        return untold(data, labels)
    if condition is None:
        return data
    if condition.transformation is None:
        return data.with_inputs(condition.input)
    return data.with_inputs(**{condition.input: built(condition.transformation, torch.nn.Module)(data.observed())})


def _check_held_out(configuration: DictConfig) -> None:
    check_whole("held_out.images", configuration.held_out.images, 0)
    for name in ("samples", "batch_size"):
        check_whole(f"held_out.{name}", configuration.held_out[name], 1)
    held_out(configuration)  # whether they can be read, too


def _check_posterior(configuration: DictConfig) -> None:
    """Now, not after the training; whether the pair has the sites, the rehearsal says."""
    for name, number in configuration.posterior.items():
        if name != "sites":
            check_whole(f"posterior.{name}", number, 1 if name == "draws" else 2)
    sites = configuration.posterior.get("sites")
    words = isinstance(sites, ListConfig) and all(isinstance(site, str) for site in sites)
    if not (sites is None or words):
        raise UserError(f"posterior.sites={sites!r}: expected a list of latent sites, such as [z_1], or null for all")


def _check_one_model(configuration: DictConfig) -> None:
    choosing = [name for name in ("auxiliary", "condition", "labels") if configuration.get(name) is not None]
    if len(choosing) > 1:
        raise UserError(f"{' and '.join(choosing)} each choose the model; give one of them, and null for the others")


def _check_information(configuration: DictConfig) -> None:
    wanted = configuration.get("information")
    if wanted is None:  # of a run before there was any
        return
    if not isinstance(wanted, DictConfig):
        raise UserError(
            f"information={wanted}: expected images, decoded and others; for none give information.images=0"
        )
    for name, least in (("images", 0), ("decoded", 2), ("others", 2)):
        check_whole(f"information.{name}", wanted.get(name), least)


def maps_of(likelihood: DictConfig, channels: int) -> int:
    """Maps that the decoder must give: as the likelihood's class says, else one for each channel."""
    try:
        kind = named(likelihood._target_)
    except (ImportError, AttributeError, ValueError, TypeError):
        return channels  # building it will say what is wrong
    settings = {str(key): value for key, value in likelihood.items() if key not in ("_target_", "decoder")}
    return kind.decoder_maps(channels, **settings) if hasattr(kind, "decoder_maps") else channels
