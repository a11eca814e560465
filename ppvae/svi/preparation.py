"""A step made ready: in one process, or in several that must run it the same way."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ppvae.processes import sharing
from ppvae.svi.agreement import rehearsed
from ppvae.svi.coordination import Coordination
from ppvae.svi.execution import Wish
from ppvae.svi.step import Step

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["prepared"]

logger = logging.getLogger("ppvae.svi")


def prepared(
    fabric: "Fabric",
    coordination: Coordination,
    step: Step,
    batch: tuple[torch.Tensor, ...],
    *,
    execution: Wish,
    steps: int,
    tell: Callable[[str], object],
) -> nn.Module:
    """``step``, made ready as :meth:`~ppvae.svi.step.Step.prepare` says; of several processes with gradients averaged.

    The first of several processes chooses for all, as rounding differs between the ways; nothing is sent meanwhile.
    """
    if not coordination.several:  # a wrapper would cost time: 3 % of a small network's step
        step.prepare(*batch, execution=execution, steps=steps, tell=tell)
        return step
    first = fabric.is_global_zero
    if first:
        _warn_of_separate_statistics(step, len(batch[0]), fabric.world_size)
    with sharing(fabric.world_size, fabric.global_rank, together=False):
        with coordination.one_error_for_all():
            if first:
                step.prepare(*batch, execution=execution, steps=steps, tell=tell)
        way = fabric.broadcast(step.execution)
        with coordination.one_error_for_all():
            if not first:
                step.prepare(*batch, execution=way)
        if set(coordination.of_all(step.execution)) != {way}:
            logger.warning("not every process can run the step %s, training runs eagerly", way)
            step.prepare(*batch, execution="eager")
        _, gradients, _ = rehearsed(step, *batch, preserve=step)
    idle = any(one is None for one in gradients)  # a parameter that the step leaves out must not be waited for
    devices = [fabric.device] if fabric.device.type == "cuda" else None
    return DistributedDataParallel(step, device_ids=devices, find_unused_parameters=any(coordination.of_all(idle)))


def _warn_of_separate_statistics(step: nn.Module, images: int, processes: int) -> None:
    if any(isinstance(part, _BatchNorm) for part in step.modules()):
        logger.warning(
            "BatchNorm normalises over the %d images of each process, not over all %d of a batch; its running "
            "statistics are those of the first process",
            images,
            images * processes,
        )
