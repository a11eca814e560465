"""What torchrun or Slurm's srun say of the processes that they started; read without importing torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Launched", "launched"]


@dataclass(frozen=True)
class Launched:
    """What a launcher started: ``processes`` of which ``here`` on this machine; this one is the ``rank``-th, from 0."""

    launcher: str
    processes: int
    here: int
    rank: int

    @property
    def machines(self) -> int:
        return self.processes // self.here


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """The processes that torchrun or srun started this one with; None where it is alone."""
    if "TORCHELASTIC_RUN_ID" in environment:
        names = "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"
        found = Launched("torchrun", *(int(environment[name]) for name in names))
    elif "SLURM_STEP_NUM_TASKS" in environment and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        processes = int(environment["SLURM_STEP_NUM_TASKS"])
        machines = int(environment.get("SLURM_STEP_NUM_NODES", 1))
        found = Launched("srun", processes, processes // machines, int(environment["SLURM_PROCID"]))
    else:
        return None
    return found if found.processes > 1 else None
