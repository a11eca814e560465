"""What a run keeps on disk, and what it takes up again."""

import copy
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ppvae.svi.batches import Batches
from ppvae.svi.checkpoints import load_checkpoint, load_states, save_checkpoint
from ppvae.svi.coordination import Coordination
from ppvae.svi.earlier_formats import upgraded
from ppvae.svi.optimisation import Optimisation
from ppvae.svi.position import Position
from ppvae.svi.run import Run, check_same
from ppvae.svi.step import Step
from ppvae.svi.stopping import Patience

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Keeping"]

logger = logging.getLogger("ppvae.svi")


class Keeping:
    """The checkpoint of the last step that was saved, the pair of the best epoch, and the pair as it is handed over."""

    def __init__(
        self,
        fabric: "Fabric",
        run: Run,
        coordination: Coordination,
        step: Step,
        optimisation: Optimisation,
        batches: Batches,
        position: Position,
    ) -> None:
        self.fabric, self.run, self.coordination, self.step = fabric, run, coordination, step
        self.optimisation, self.batches, self.position = optimisation, batches, position
        self.fingerprint = run.fingerprint()  # of the pair before anything is trained
        self.saved_at = time.monotonic()
        self.best: dict[str, Any] | None = None  # the best epoch's states, where there is no folder for them

    def due(self) -> bool:
        """Whether a checkpoint is to be written after this step of the epoch, by the number of steps."""
        steps = self.run.settings.save_steps
        return self.run.directory is not None and steps is not None and self.position.taken % steps == 0

    def late(self) -> bool:
        """Whether the last checkpoint is as old as one may be."""
        minutes = self.run.settings.save_minutes
        wanted = self.run.directory is not None and minutes is not None
        return wanted and time.monotonic() - self.saved_at >= 60 * minutes

    def save(self) -> None:
        """Replace the checkpoint, unless the pair is not finite."""
        objective, total = self.step.objective, self.position.total
        if self.fabric.world_size > 1 and self.position.taken:
            total = self.fabric.all_reduce(total, reduce_op="mean")
        content = {
            **self._pair_and_training(),
            "objective": {} if objective.state is None else objective.state.state_dict(),
            "optimizer": self.optimisation.state(),
            **self.position.state(total),
            "settings": self.fingerprint,
            "execution": self.step.execution,
        }
        with self.coordination.one_error_for_all():
            if self.fabric.is_global_zero:
                save_checkpoint(self.run.checkpoint, content)
        self.saved_at = time.monotonic()

    def save_best(self) -> None:
        """Keep the pair of this epoch."""
        with self.evaluated():
            if self.run.directory is None:
                self.best = copy.deepcopy(self._pair())
                return
            with self.coordination.one_error_for_all():
                if self.fabric.is_global_zero:
                    told = {"epoch": len(self.position.history), **self.position.checked}
                    save_checkpoint(self.run.best, {**self._pair(), **told})

    def evaluated(self) -> AbstractContextManager:
        """The pair as it is evaluated: where there is an average, with it in the parameters' place."""
        average = self.optimisation.average
        return nullcontext() if average is None else average.applied(self.batches.some, self.step.measuring)

    def settle(self) -> None:
        """Leave the pair as it is to be used: of the best epoch under early stopping, else with its average."""
        programs = {"model": self.run.model, "guide": self.run.guide}
        early = isinstance(self.run.settings.recipe.stopping, Patience) and len(self.position.history) > 0
        if early and self.best is not None:
            load_states(Path("best.pt"), self.best, **programs)
        elif early:
            load_states(self.run.best, load_checkpoint(self.run.best), **programs)
        elif self.optimisation.average is not None:
            self.optimisation.average.put(self.batches.some, self.step.measuring)

    def restore(self) -> str:
        """Take up the checkpoint; returns how its steps ran."""
        path, content = self.run.checkpoint, load_checkpoint(self.run.checkpoint)
        load_states(path, content, model=self.run.model, guide=self.run.guide)
        earlier = content["format"] == 1
        if earlier:
            content = upgraded(content, self.step)
            logger.warning("%s was written by an earlier version, which compared neither pair nor images", path)
        then, now = content["settings"], self.fingerprint
        check_same(path, then, now, earlier_format=earlier)
        objective = self.step.objective
        if objective.state is not None:
            load_states(path, content, objective=objective.state)
        self.optimisation.restore(content["optimizer"])
        if now["learning_rate"] != then["learning_rate"]:
            self.optimisation.lower(now["learning_rate"] / then["learning_rate"])
        if self.optimisation.average is not None:
            self.optimisation.average.restore(content["training"])
        self.position.restore(content, self.run.settings.recipe.stopping, self.run.units)
        return content["execution"]

    def _pair(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"model": self.run.model.state_dict(), "guide": self.run.guide.state_dict()}

    def _pair_and_training(self) -> dict[str, Any]:
        """The pair as it is evaluated and, where that is an average, what its parameters are in training."""
        if self.optimisation.average is None:
            return self._pair()
        training = self.optimisation.average.state()
        with self.evaluated():
            return {**copy.deepcopy(self._pair()), "training": training}
