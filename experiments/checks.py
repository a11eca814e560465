"""What is checked of a configuration before anything is built from it: groups, keys, and values of their kind."""

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ppvae.errors import UserError, check_choice, check_positive, check_whole
from ppvae.svi.execution import Wish

from .folders import check_name
from .job_settings import check_job_settings
from .suggestions import as_it_stands, groups, is_choice, parsed, unknown_key

__all__ = ["check_settings"]

BUILT = ("data", "prior", "likelihood", "guide", "objective", "model", "recipe")  # groups that say what to build
NEEDED = (*BUILT, "network", "trainer", "posterior", "diagnosis", "held_out")
OPTIONAL = ("auxiliary", "clusters", "condition", "labels", "penalty", "annealing", "select")
ADDED = (  # keys that jobs of ours read and config.yaml has not
    *("seeds", "workers", "models", "metrics", "figures", "prepare", "measure", "paper", "title"),
    *("search", "score", "runs", "every", "probe", "classifier", "pretraining", "path"),
)
EITHER = (
    "validation",
    "objective.nats",
    "data.resident",
)  # a share, or a split; a number, or one a site; auto, or a switch
SWITCHES = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}
PROCESSES = 4  # a core that a run may have


def check_settings(configuration: DictConfig, words: Sequence[str], config_name: str = "config") -> None:
    """UserError for a configuration that cannot be meant, naming the group or key; ``words`` are the command line's.

    Words for switches become booleans: ``no`` and ``off`` are false.
    """
    overrides, known = parsed(words), groups()
    _check_choices(overrides, known)
    _check_groups(configuration, known)
    standing = as_it_stands(overrides, config_name)
    for override in overrides:
        if not is_choice(override, known):
            _check_override(override, configuration, standing, known)
    check_name(configuration.get("name"))
    _check_job(configuration.get("job"))
    check_whole("seed", configuration.get("seed"), 0)
    if configuration.seed >= 2**64:
        raise UserError(f"seed={configuration.seed}: expected a whole number below 2^64 = {2**64}")
    check_whole("latents", configuration.get("latents"), 1)
    _check_trainer(configuration.trainer)
    check_job_settings(configuration)


def _check_choices(overrides: Iterable[Override], known: Sequence[str]) -> None:
    """A group is one choice: Hydra merges a list of them into what none of them says."""
    for override in overrides:
        value = override.value()
        if override.key_or_group in known and not override.is_delete() and not isinstance(value, str | None):
            raise UserError(
                f"{override.input_line}: expected one choice of {override.key_or_group}, "
                f"{', '.join(_choices(override.key_or_group))}"
            )


def _choices(group: str) -> list[str]:
    return sorted(GlobalHydra.instance().config_loader().get_group_options(group))


def _check_groups(configuration: DictConfig, known: Sequence[str]) -> None:
    for name in NEEDED:
        node = configuration.get(name)
        if not isinstance(node, DictConfig):
            choices = f"a choice, {', '.join(_choices(name))}" if name in known else "its keys, as config.yaml has them"
            raise UserError(f"{name}={_shown(node)}: expected {choices}")
        if name in BUILT:
            _check_target(f"{name}._target_", node)
    for name in OPTIONAL:
        if not isinstance(configuration.get(name), DictConfig | None):
            raise UserError(
                f"{name}={_shown(configuration[name])}: expected null or one of {', '.join(_choices(name))}"
            )


def _check_target(key: str, node: DictConfig) -> None:
    name = node.get("_target_")
    if not isinstance(name, str) or not name:
        raise UserError(f"{key}={_shown(name)}: expected the import path of a class, such as ppvae.priors.NormalPrior")


def _check_job(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise UserError(f"job={_shown(name)}: expected the import path of a function, as experiments.jobs.single.run")


def _check_override(override: Override, configuration: DictConfig, standing: DictConfig, known: Sequence[str]) -> None:
    """The key is known, or something of a user's own reads it, and its value is of the kind that stands there."""
    key = override.key_or_group
    if override.package is not None or override.is_delete() or key.startswith("hydra"):
        return
    if (override.is_add() or override.is_force_add()) and str(configuration.get("job")).startswith("experiments."):
        said = unknown_key(key, standing, [*ADDED, *known])
        within = OmegaConf.select(standing, key.rpartition(".")[0]) if "." in key else standing
        if said and not (isinstance(within, DictConfig) and "_target_" in within):  # a constructor knows its arguments
            raise UserError(said)
    before, value = _selected(standing, key), _selected(configuration, key)
    if isinstance(before, bool):
        OmegaConf.update(configuration, key, _switch(key, value))
    elif isinstance(before, int | float) and key not in EITHER:
        _check_number(key, value, before)
    elif isinstance(before, str) and key not in EITHER and not isinstance(value, str | DictConfig | None):
        raise UserError(f"{key}={_shown(value)}: expected a word, such as {before}; a number is one in quotes")
    elif isinstance(before, ListConfig) and not isinstance(value, ListConfig | None):
        raise UserError(f"{key}={_shown(value)}: expected a list, such as {_shown(before)}")
    elif isinstance(before, DictConfig) and not isinstance(value, DictConfig | None):
        raise UserError(f"{key}={_shown(value)}: expected the keys {', '.join(map(str, before))}, or null")
    if isinstance(value, float) and math.isnan(value):
        raise UserError(f"{key}=nan: expected a number")


def _selected(configuration: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(configuration, key)
    except OmegaConfBaseException:  # what it refers to is filled in later
        return None


def _switch(key: str, value: Any) -> bool:
    word = str(value).lower()
    if isinstance(value, DictConfig | ListConfig) or word not in SWITCHES:
        raise UserError(f"{key}={_shown(value)}: expected true or false, yes or no, on or off")
    return SWITCHES[word]


def _check_number(key: str, value: Any, before: float) -> None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return
    hint = "; without quotes" if isinstance(value, str) and _is_number(value) else ""
    raise UserError(f"{key}={_shown(value)}: expected a number, such as {before}{hint}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _check_trainer(trainer: DictConfig) -> None:
    for name in ("epochs", "batch_size", "devices"):
        if name != "devices" or trainer.get(name) is not None:  # null: those of the launcher, or one
            check_whole(f"trainer.{name}", trainer.get(name), 1)
    if "learning_rate" in trainer:
        check_positive("trainer.learning_rate", trainer.learning_rate)
    for name in ("compile", "progress"):
        if not isinstance(trainer.get(name), bool):
            raise UserError(f"trainer.{name}={_shown(trainer.get(name))}: expected true or false")
    execution = trainer.get("execution", "auto")
    check_choice("trainer.execution", execution, get_args(Wish))
    if not trainer.compile and execution not in ("auto", "eager"):
        raise UserError(f"trainer.execution={execution} with trainer.compile=false, which means eager; leave one out")
    if not isinstance(trainer.get("stopping"), DictConfig | None):
        raise UserError(f"trainer.stopping={_shown(trainer.stopping)}: expected null or its keys, as window=5")
    if trainer.get("stopping") is not None:
        _check_target("trainer.stopping._target_", trainer.stopping)
    _check_devices(trainer.get("accelerator"), trainer.get("devices") or 1, trainer.batch_size)


def _check_devices(accelerator: Any, devices: int, batch_size: int) -> None:
    from lightning_fabric.accelerators import ACCELERATOR_REGISTRY  # here: it imports the compiler

    check_choice("trainer.accelerator", accelerator, ("auto", "gpu", *sorted(ACCELERATOR_REGISTRY)))
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    name = {"auto": automatic, "gpu": "cuda"}.get(accelerator, accelerator)
    try:
        kind = ACCELERATOR_REGISTRY.get(name)
        there = kind.is_available()
    except ImportError:
        there = False
    if not there:
        raise UserError(f"trainer.accelerator={accelerator}: this machine has none; give cpu or auto")
    most = PROCESSES * (os.cpu_count() or 1) if name == "cpu" else kind.auto_device_count()
    if devices > most:
        raise UserError(f"trainer.devices={devices}: expected at most {most} on this machine ({name})")
    if batch_size % devices:
        raise UserError(
            f"trainer.batch_size={batch_size} cannot be shared by trainer.devices={devices}; give a multiple of it"
        )


def _shown(value: Any) -> str:
    if isinstance(value, DictConfig | ListConfig):
        value = OmegaConf.to_container(value)
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
