"""The processes of a training: started here, or joined where torchrun or Slurm's srun started them."""

import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ppvae.errors import Interrupted, UserError
from ppvae.launchers import Launched
from ppvae.svi.signals import asked_to_end, held_back, let_through

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["fabric_of", "join", "spawn"]

PATIENCE = 20.0  # seconds that the other processes have to end by themselves where one has failed

type Mistake = UserError | Interrupted


def fabric_of(accelerator: str, devices: int = 1, joined: Launched | None = None) -> "Fabric":
    """Fabric for one process alone, for ``devices`` that :func:`spawn` starts, or for those that a launcher started.

    Errors: :class:`~ppvae.errors.UserError` where the machine has no such devices.
    """
    from lightning_fabric import Fabric  # here: it imports the compiler, as long again as torch itself
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    if accelerator == "auto":  # not MPS, which lacks the Gamma's sampler
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    options: dict[str, Any] = {"devices": devices, "strategy": "auto" if devices == 1 else "ddp"}
    if joined is not None:
        options = {"devices": joined.here, "num_nodes": joined.machines, "strategy": "ddp"}
    else:
        options["plugins"] = [LightningEnvironment()]  # whatever cluster this process runs on
    try:
        return Fabric(accelerator=accelerator, **options)
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"accelerator={accelerator!r} with devices={devices} is not to be had: {reason}") from None


def join(fabric: "Fabric") -> None:
    """Meet the other processes; without what Fabric would tell of it."""
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        fabric.launch()
    finally:
        logger.setLevel(before)


def spawn(task: Callable[["Fabric"], None], accelerator: str, devices: int) -> None:
    """Run ``task`` in ``devices`` new processes of this machine, which hear of signals to this one.

    Errors: the :class:`~ppvae.errors.UserError` or :class:`~ppvae.errors.Interrupted` that one of them ended with.
    """
    from lightning_fabric.plugins.environments.lightning import find_free_network_port

    with tempfile.TemporaryDirectory() as folder, asked_to_end() as asked:
        told = torch.zeros((), dtype=torch.int32).share_memory_()
        asked.share(told)
        reports = Path(folder)
        deterministic = torch.are_deterministic_algorithms_enabled()
        task_of_all = (task, accelerator, devices, find_free_network_port(), told, reports, deterministic)
        with held_back():  # else a signal would end a process that is still importing
            running = torch.multiprocessing.start_processes(_process, task_of_all, nprocs=devices, join=False)
        try:
            while not running.join(grace_period=PATIENCE):
                pass
        except torch.multiprocessing.ProcessException:
            mistake = _mistake(reports, devices)
            if mistake is None and asked.code:
                mistake = Interrupted("interrupted before the first step; nothing was saved", asked.code)
            if mistake is None:
                raise
            raise mistake from None
        except BaseException:  # asked for the second time
            for process in running.processes:
                process.kill()
            raise
        mistake = _mistake(reports, devices)
        if mistake is not None:
            raise mistake


def _process(
    rank: int,
    task: Callable[["Fabric"], None],
    accelerator: str,
    devices: int,
    port: int,
    told: torch.Tensor,
    reports: Path,
    deterministic: bool,
) -> None:
    """One of the processes; a mistake of the user's is a file: raised here, it would reach the user as a traceback."""
    with asked_to_end() as asked:
        asked.share(told)
        let_through()
        os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
        torch.use_deterministic_algorithms(deterministic)
        try:
            fabric = fabric_of(accelerator, devices)
            join(fabric)
            if rank:
                logging.disable(logging.WARNING)  # the first process says the same
            task(fabric)
        except (UserError, Interrupted) as mistake:
            _report(reports, rank).write_bytes(pickle.dumps(mistake))


def _report(reports: Path, rank: int) -> Path:
    return reports / f"{rank}.pickle"


def _mistake(reports: Path, devices: int) -> Mistake | None:
    """What the first of the processes with a mistake ended with."""
    found = [path for path in (_report(reports, rank) for rank in range(devices)) if path.exists()]
    return pickle.loads(found[0].read_bytes()) if found else None
