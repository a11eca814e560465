"""What a worker does for a member of a sweep; the worker itself imports no torch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ppvae.files import replace_atomically

from ..members import attempt, outcome_of

__all__ = ["Scores", "own_configuration", "run_member"]

ABOUT = ("sweep", "workers", "hydra")  # what a sweep says about itself, not about its members
FILE = "scores.json"


@dataclass(frozen=True)
class Scores:
    """Metrics that a sweep computed from a member's stored posterior once its job was over, by one preset.

    ``asked``: all metrics the sweep wanted; ``values``: those computed, None for one that could not be; ``why`` not.
    """

    preset: str
    asked: list[str] = field(default_factory=list)
    values: dict[str, float | None] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def keep(self, directory: Path) -> None:
        """Write them into the member's folder, whole or not at all."""
        replace_atomically(directory / FILE, lambda path: path.write_text(json.dumps(asdict(self), indent=1)))

    @classmethod
    def of(cls, directory: Path) -> "Scores | None":
        """Those in a member's folder; None before the job is over."""
        try:
            return cls(**json.loads((directory / FILE).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def run_member(configuration: DictConfig) -> None:
    """Hydra's task: do what is missing of one member; its outcome is in its folder, and a line of it is printed."""
    directory, wanted = Path(HydraConfig.get().runtime.output_dir), configuration.sweep
    scores = Scores.of(directory)
    known = scores is not None and scores.preset == wanted.preset and set(wanted.metrics) <= set(scores.asked)
    if known and outcome_of(directory).state == "done":
        return
    outcome = attempt("experiments.sweeps.scores.train_and_score", configuration, directory)
    print(f"{directory.name}: {outcome.said()}", flush=True)


def own_configuration(configuration: DictConfig) -> DictConfig:
    """A member's configuration without what the sweep says about itself."""
    own: Any = OmegaConf.masked_copy(configuration, [str(key) for key in configuration if key not in ABOUT])
    with open_dict(own):
        own.resume = None
    return own
