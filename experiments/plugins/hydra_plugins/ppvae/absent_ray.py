"""What stands for Ray's launcher where it is not installed, and says so when it is to launch something."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ppvae.errors import UserError

__all__ = ["AbsentRay"]


class AbsentRay(Launcher):
    """UserError at every use."""

    def __init__(self, **settings: Any) -> None:
        del settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """UserError, before anything is trained."""
        del hydra_context, task_function, config
        raise UserError("launcher=ray: Ray is not installed; uv pip install 'ppvae[ray]', or give launcher=joblib")

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Never reached."""
        raise NotImplementedError


@dataclass
class AbsentRayConf:
    """Takes the settings that Ray's launcher would."""

    _target_: str = f"{AbsentRay.__module__}.{AbsentRay.__qualname__}"
    ray: dict[str, Any] = field(default_factory=dict)


if find_spec("hydra_plugins.hydra_ray_launcher") is None:
    ConfigStore.instance().store(group="hydra/launcher", name="ray", node=AbsentRayConf, provider="ppvae")
