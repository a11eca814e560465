"""Members of a sweep or a study by one of Hydra's launchers: joblib, Slurm, Ray, or one after another."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import batched
from pathlib import Path

import joblib
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ppvae.errors import UserError, check_whole, one_line

from .members import outcome_of

__all__ = ["Members", "check_workers", "launch"]

AT_A_TIME = {"joblib": "n_jobs", "ray": "ray.init.num_cpus", "submitit_slurm": "array_parallelism"}
SHARING = ("joblib", "ray", "submitit_local")  # the cores of this machine
UNFINISHED = ("missing", "interrupted")
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

type Members = Mapping[str, Sequence[str]]  # overrides by name, which is the folder's path under the sweep's
type Task = Callable[[DictConfig], object]


def launch(members: Members, task: Task, directory: Path, hydra: DictConfig, workers: int | None) -> str | None:
    """Call ``task`` with each member's configuration, its folder ``directory / name``, so many ``workers`` at a time.

    ``hydra``: the configuration whose launcher it is. Returns None, or one line of what ended the engine itself; a
    member that fails ends nothing. A joblib pool that lost a worker starts anew for what never ended, unless that start
    neither ended nor began any.
    """
    if not members:
        return None
    check_workers(workers)
    at_a_time = min(workers or joblib.cpu_count(), len(members))
    config, before = _master(hydra, directory, at_a_time), _states(members, directory)
    failure = _launch_once(members, task, config, at_a_time)
    if failure is None or _name(config) != "joblib":
        return failure
    after = _states(members, directory)
    left = {name: own for name, own in members.items() if after[name] in UNFINISHED}
    went_on = len(left) < len(members) or list(after.values()).count("missing") < list(before.values()).count("missing")
    return launch(left, task, directory, hydra, workers) if went_on else failure


def check_workers(workers: int | None) -> None:
    """UserError unless it is None, as many as there are cores, or a whole number."""
    if workers is not None:
        check_whole("workers", workers, 1)


def _states(members: Members, directory: Path) -> dict[str, str]:
    return {name: outcome_of(directory / name).state for name in members}


def _launch_once(members: Members, task: Task, config: DictConfig, at_a_time: int) -> str | None:
    context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks(config))
    threads = _threads(_name(config), at_a_time)
    overrides = [[*own, *threads, f"hydra.sweep.subdir={_quoted(name)}"] for name, own in members.items()]
    own = HydraConfig.instance().cfg
    together = at_a_time if _name(config) == "submitit_local" else len(overrides)  # it starts all it is given at once
    try:
        for number, some in enumerate(batched(overrides, together)):
            launcher = Plugins.instance().instantiate_launcher(context, task, config)
            for done in launcher.launch(list(some), initial_job_idx=number * together):
                _ = done.return_value  # which raises
    except (UserError, HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # no task raises: the engine's own
        return f"launcher={_name(config)} failed: {type(error).__name__}: {one_line(error, 120)}"
    finally:
        HydraConfig.instance().cfg = own  # not that of a member which ran in this process
    return None


def _name(config: DictConfig) -> str:
    return config.hydra.runtime.choices["hydra/launcher"]


def _master(hydra: DictConfig, directory: Path, at_a_time: int) -> DictConfig:
    """What the launcher is told: Hydra's settings, where the members' folders are, and how many at a time.

    Inside a member of a sweep, which has its share of the cores only, one after another.
    """
    config, where = copy.deepcopy(hydra), str(directory.absolute())
    for node in (config, config.hydra):
        OmegaConf.set_readonly(node, False)
        OmegaConf.set_struct(node, False)
    config.hydra.sweep.dir = where
    config.hydra.overrides.hydra += [f"hydra.sweep.dir={_quoted(where)}", "hydra.mode=MULTIRUN"]
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        config.hydra.overrides.hydra += ["hydra/launcher=basic"]
        config.hydra.runtime.choices["hydra/launcher"] = "basic"
        config.hydra.launcher = {"_target_": BASIC}
    if _name(config) in AT_A_TIME:
        OmegaConf.update(config, f"hydra.launcher.{AT_A_TIME[_name(config)]}", at_a_time)
    if _name(config) == "joblib":
        config.hydra.launcher.batch_size = 1  # else quick members are handed out together with long ones
    return config


def _threads(launcher: str, at_a_time: int) -> list[str]:
    """The override that gives each member its share of the cores."""
    if launcher not in SHARING:
        return []
    share, asked = max(1, joblib.cpu_count() // at_a_time), os.environ.get("OMP_NUM_THREADS", "")
    return [f"++hydra.job.env_set.OMP_NUM_THREADS={min(share, int(asked)) if asked.isdigit() else share}"]


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
