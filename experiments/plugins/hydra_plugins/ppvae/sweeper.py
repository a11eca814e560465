"""The sweeper of every ``--multirun``."""

from importlib import import_module
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

__all__ = ["PublishingSweeper"]

PACKAGE = Path(__file__).parents[3].name  # experiments or, where it is installed, ppvae_experiments


class PublishingSweeper(BasicSweeper):
    """The same products of values as Hydra's own; members fail alone, and all end in one table and one page."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what the sweep needs; ``task_function``, which ends the process at a mistake, is not of it."""
        del task_function
        self.loader, self.config = hydra_context.config_loader, config

    def sweep(self, arguments: list[str]) -> None:
        """Runs what is missing and publishes; see :func:`experiments.sweeps.run.run_sweep`."""
        parser = OverridesParser.create(config_loader=self.loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (members,) = self.split_arguments(overrides, None)
        run = import_module(f"{PACKAGE}.sweeps.run")  # here: it imports torch, and every command imports this module
        run.run_sweep(members, self.config, self.loader)
