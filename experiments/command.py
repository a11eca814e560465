"""What the command line does: composes a configuration by Hydra, and runs its job in a folder of its own."""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ppvae.errors import UserError, one_line

from .configuration_folders import check_composed, check_configuration_folders
from .endings import ended_in_one_line, line_of
from .folders import told_what_is_left, withdrawn_after_a_mistake
from .launched import check_shareable
from .own_names import importable
from .resolvers import register_resolvers

__all__ = ["command_line", "demo", "job_of", "run_job", "train"]

CONF = Path(__file__).parent / "conf"


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _job(configuration: DictConfig) -> None:
    directory = Path(HydraConfig.get().runtime.output_dir)
    try:  # not by Hydra, which would announce the error in a line of its own
        with ended_in_one_line(), told_what_is_left(directory):
            run_job(configuration, directory)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def run_job(configuration: DictConfig, directory: Path) -> None:
    """Check the configuration, then run its job in ``directory``, with a record of it.

    Errors: as the job raises them; of a mistake, nothing is left of a folder that was made for this run.
    """
    with withdrawn_after_a_mistake(directory):
        from .checks import check_settings  # these import torch, during which a signal may come
        from .record import recorded
        from .rerun import rerun

        settings = HydraConfig.get()
        check_shareable(configuration.job)
        check_composed(configuration)
        check_settings(configuration, settings.overrides.task, settings.job.config_name or "config")
        job = job_of(configuration) if configuration.rerun is None else rerun
        with recorded(configuration, directory):
            job(configuration, directory)


def job_of(configuration: DictConfig) -> Callable[[DictConfig, Path], object]:
    """The function that ``job`` names."""
    name = configuration.job
    try:
        module, _, function = name.rpartition(".")
        own = importlib.import_module(importable(module))  # not pkgutil's: it hides an import that fails inside
        job = getattr(own, function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"job={name}: {one_line(error)}") from None
    if not _takes_two(job):
        raise UserError(f"job={name}: expected a function of a configuration and a folder")
    return job


def _takes_two(job: Any) -> bool:
    try:
        inspect.signature(job).bind(None, None)
    except TypeError:  # no function, or not of two arguments
        return False
    except ValueError:  # it does not tell
        pass
    return True


def command_line() -> None:
    """Run what ``sys.argv`` says. Errors: :class:`~ppvae.UserError` for what cannot be composed."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the line is ours
    register_resolvers()
    _check_flags(sys.argv[1:])
    try:
        check_configuration_folders(sys.argv[1:])
        _job()
    except UserError:
        raise
    except Exception as error:
        if not _raised_by_hydra(error):
            raise
        raise UserError(_of_words(error, sys.argv[1:])) from error


def train(words: Sequence[str]) -> None:
    """``ppvae train WORDS``."""
    sys.argv[1:] = words  # where Hydra reads them
    command_line()


def demo(words: Sequence[str]) -> None:
    """``ppvae demo WORDS``."""
    train(["experiment=demo", *words])


def _check_flags(arguments: Sequence[str]) -> None:
    """UserError for a flag that Hydra has not, in place of its page of them."""

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; --hydra-help lists the flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]  # Hydra makes the parser
    parser.parse_args(list(arguments))


def _raised_by_hydra(error: Exception) -> bool:
    """Whether it is about the composition: Hydra's own errors, and what its internals raise without a word for it."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    return {"hydra", "omegaconf", "antlr4"} & set(Path(last.filename).parts) != set()


def _of_words(error: Exception, arguments: Sequence[str]) -> str:
    """What to say of words that make no configuration: a misspelt key's near neighbour, or else Hydra's own reason."""
    from .suggestions import as_it_stands, groups, parsed, unknown_choice, unknown_key

    if said := unknown_choice(error):
        return said
    try:
        given = get_args_parser().parse_args(list(arguments))
        with initialize_config_dir(str(CONF), version_base="1.3"):
            overrides = parsed(given.overrides)
            standing, known = as_it_stands(overrides), groups()
            for override in overrides:
                key = override.key_or_group
                said = None if override.is_add() or key.startswith("hydra") else unknown_key(key, standing, known)
                if said:
                    return said
    except (HydraException, ValueError):
        pass
    return line_of(error) or one_line(error)
