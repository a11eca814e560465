"""The command line as one of several processes that torchrun or srun started: the first one writes and speaks."""

import logging
import sys

from ppvae.errors import UserError
from ppvae.launchers import launched

__all__ = ["SHAREABLE", "another", "check_shareable", "end_here", "silent"]

SHAREABLE = "experiments.jobs.single.run"


def check_shareable(job: str) -> None:
    """UserError where a job is more than one training and what follows it; but the first process is quiet from here."""
    if another():
        logging.disable(logging.WARNING)  # the first process says the same
    there = launched()
    if there and job != SHAREABLE:
        raise UserError(
            f"job={job} is not for {there.processes} processes of {there.launcher}; start it without, "
            "trainer.devices then shares each of its trainings"
        )


def end_here() -> None:
    """What follows a training is the first process's; the others end, successfully."""
    if another():
        sys.exit(0)


def silent(error: BaseException) -> bool:
    """Whether the first process says the same: before a training all find the same, during it all are told."""
    if not another():
        return False
    import torch.distributed as dist  # loaded already, where a training has begun

    return not (isinstance(error, UserError) and dist.is_initialized()) or getattr(error, "of_all", False)


def another() -> bool:
    """Whether this is not the first process."""
    there = launched()
    return there is not None and there.rank > 0
