"""The training loop of one process."""

import copy
import logging
import math
import sys
import time
from contextlib import nullcontext
from itertools import batched
from typing import TYPE_CHECKING, Any

import pyro
import torch
from tqdm.auto import tqdm

from ppvae.errors import Diverged, Interrupted, UserError
from ppvae.pair.finite import check_finite
from ppvae.pair.untouched import parameter_store_kept
from ppvae.processes import from_first, sharing
from ppvae.svi.batches import Batches, mixed
from ppvae.svi.coordination import Coordination, Wishes
from ppvae.svi.history import History
from ppvae.svi.keeping import Keeping
from ppvae.svi.logs import Logs
from ppvae.svi.memory import memory_explained
from ppvae.svi.numbers import Numbers
from ppvae.svi.optimisation import Optimisation
from ppvae.svi.position import Position
from ppvae.svi.preparation import prepared
from ppvae.svi.progress import bar, drawable, epoch_line, step_line
from ppvae.svi.rehearsal import unchanged
from ppvae.svi.run import Run
from ppvae.svi.schedules import settled
from ppvae.svi.signals import Asked, asked_to_end
from ppvae.svi.step import Step
from ppvae.svi.validation import Validation

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Loop"]

logger = logging.getLogger("ppvae.svi")


class Loop:
    """Trains a run's pair step by step; what a step needs of the past is in the checkpoint.

    An epoch's order comes from (seed, epoch), a step's noise from (seed, step, process) alone, which is why a resumed
    run continues with the numbers of an uninterrupted one, in the middle of an epoch too. Of several processes each
    has a loop, in step with the others': all begin with the first one's parameters, and the gradients are averaged.
    """

    def __init__(self, fabric: "Fabric", run: Run) -> None:
        self.fabric, self.run, settings = fabric, run, run.settings
        self.several = fabric.world_size > 1
        self.coordination = Coordination(fabric, self._wishes)
        self.asked = Asked()
        self.recipe, device = settings.recipe, fabric.device
        ranks = (fabric.global_rank, fabric.world_size)
        own = copy.deepcopy(run.objective)  # the caller's keeps its own state
        objective = own.bound_to(len(run.pixels), run.model, run.guide)
        options = {"population": len(run.pixels), **self.recipe.computing}
        self.step = Step(run.model, run.guide, objective, run.conversion, **options).to(device).train()
        self.module: Any = self.step  # or what averages its gradients over several processes
        if self.several:
            from_first((*self.step.parameters(), *self.step.buffers()))
        sizes = {"given": run.given, "parts": self.recipe.accumulate}
        self.batches = Batches(run.pixels, settings.batch_size, settings.seed, device, *ranks, **sizes)
        self.optimisation = Optimisation(self.recipe, self.step, settings.epochs * self.batches.steps)
        self.numbers = Numbers(objective, device)
        self.validation = None
        if run.validation is not None:
            self.validation = Validation(run.validation, objective, settings.batch_size, device, *ranks)
        self.settles = settled(objective, run.model, run.guide, warmup=self.recipe.warmup)
        self.position = Position(
            History(units=run.units),
            torch.full((self.batches.steps,), math.nan, device=device),
            stable_from=math.ceil(self.settles / self.batches.steps),
        )
        parts = self.step, self.optimisation, self.batches, self.position
        self.keeping = Keeping(fabric, run, self.coordination, *parts)
        self.execution = self.keeping.restore() if run.resume else None  # rounding differs between the ways

    def train(self) -> History:
        """Train to the last epoch or to the stopping rule's end.

        Errors: :class:`~ppvae.errors.Interrupted` where a signal asked to end, once the step is done and saved.
        """
        settings, fabric, position = self.run.settings, self.fabric, self.position
        if self._epochs_left() > 0:
            self._warn_of_unfinished_schedules()
            cuda = [fabric.device] if fabric.device.type == "cuda" else []
            explained = memory_explained(settings.batch_size, self._attempt)
            with explained, parameter_store_kept(), torch.random.fork_rng(devices=cuda):
                torch.manual_seed(settings.seed % 2**63)
                with bar(self._steps_left(), wanted=settings.progress and fabric.is_global_zero) as shown:
                    self._prepare(shown)
                    with asked_to_end() as self.asked:
                        self._train(shown)
            self.execution = self.step.execution
        elif position.finished and settings.epochs > len(position.history):
            logger.warning(
                "the stopping rule ended this run after %d epochs; give another rule, or none, to go on to %d",
                len(position.history),
                settings.epochs,
            )
        position.history.execution = self.execution
        self.keeping.settle()
        return position.history

    def _warn_of_unfinished_schedules(self) -> None:
        steps = self.run.settings.epochs * self.batches.steps
        if self.settles > steps:
            logger.warning(
                "annealing, a capacity's ramp, a delay or a warm-up lasts %d steps, this run %d: it ends before them; "
                "train longer or shorten them",
                self.settles,
                steps,
            )

    def _prepare(self, shown: tqdm) -> None:
        wish = self.run.settings.execution
        if wish == "auto" and self.execution is not None:
            wish = self.execution
        batch, steps = (*self.batches.first(), self.numbers(0)), self._steps_left() * self.recipe.accumulate
        options = {"execution": wish, "steps": steps, "tell": shown.set_postfix_str}
        self.module = prepared(self.fabric, self.coordination, self.step, batch, **options)
        shown.set_postfix_str("")
        shown.unpause()  # the speed is that of training

    def _attempt(self, size: int) -> None:
        """A step on so many images that changes nothing, to see whether they fit."""
        share = max(1, size // (self.batches.ranks * self.batches.parts))
        parts = [values[:share] for values in self.batches.first()]
        with unchanged(self.step, *parts):
            self.step.zero_grad()
            self.step.eager(*parts, self.numbers(0))[0].backward()
        self.step.zero_grad()

    def _train(self, shown: tqdm) -> None:
        with pyro.validation_enabled(False), self._logs() as logs:
            if self.run.directory is not None and not self.run.resume:
                self.keeping.save()  # a kill in the first epoch loses steps, not the run
            while self._epochs_left() > 0:
                self._epoch(shown)
                self._apply_stopping_rule()
                self._show()
                with self.coordination.one_error_for_all():
                    logs.write(self.position.history)
                if self.run.directory is not None:
                    self.keeping.save()
                self._end_if(self.coordination.code())

    def _epoch(self, shown: tqdm) -> None:
        position, steps, parts = self.position, self.batches.steps, self.recipe.accumulate
        epoch, start, before = len(position.history), time.perf_counter(), position.seconds
        for batch in self.coordination.ahead(batched(self.batches.epoch(epoch, position.taken), parts)):
            self._step(epoch * steps + position.taken, batch)
            wishes = self.coordination.heard()
            position.seconds = before + time.perf_counter() - start
            if shown.update():  # only when it draws: reading the numbers waits for the device
                shown.set_postfix_str(self._said())
            if position.taken < steps:
                if wishes.save or self.keeping.due():
                    self._save_unfinished()
                self._end_if(wishes.code)
        if self.several:  # BatchNorm's statistics are of each process's images
            from_first(self.step.buffers())
        means = self.fabric.all_reduce(position.total / steps, reduce_op="mean").cpu()  # waits for the device
        position.seconds = before + time.perf_counter() - start
        self._check()
        self._record(means)

    def _step(self, number: int, batch: tuple[tuple[torch.Tensor, ...], ...]) -> None:
        """Step ``number`` of the run, on a batch in one part or more."""
        position, parts, ranks = self.position, len(batch), (self.fabric.world_size, self.fabric.global_rank)
        self.optimisation.optimizer.zero_grad()
        numbers = self.numbers(number)
        for index, part in enumerate(batch):
            self._seed(mixed(self.run.settings.seed, number * parts + index, self.fabric.global_rank))
            waits = self.several and index + 1 < parts
            with (
                sharing(*ranks) if self.several else nullcontext(),
                self.module.no_sync() if waits else nullcontext(),
            ):
                loss, values = self.module(*part, numbers)
                (loss if parts == 1 else loss / parts).backward()
            position.total = position.total + (values if parts == 1 else values / parts)
        position.count(values)
        self.optimisation.step(last=position.taken == self.batches.steps)

    def _seed(self, seed: int) -> None:
        """Of the generator that a step draws from; ``torch.manual_seed`` sets all, in more time than a small step."""
        device = self.fabric.device
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(seed)

    def _said(self) -> str:
        """Progress so far in this epoch."""
        position = self.position
        means = (position.total[:3] / position.taken).tolist()
        if not math.isfinite(means[0]) and not self.several:
            self._check()
        speed = position.taken * self._images_a_step / position.seconds
        return step_line(position.epoch, means, position.checked, speed)

    @property
    def _images_a_step(self) -> int:
        return self.batches.size * self.batches.parts * self.batches.ranks

    def _check(self) -> None:
        """Diverged where this epoch's losses or last gradient, the parameters or the buffers are not finite."""
        with self.coordination.one_error_for_all():
            self._check_own()

    def _check_own(self) -> None:
        position, rate = self.position, self.optimisation.learning_rate
        kept = "" if self.run.directory is None else f"; {self.run.checkpoint} keeps the last good state"
        advice = f"lower learning_rate (now {rate:g}) or look for extreme pixels{kept}"
        epoch, step = position.epoch, position.first_broken_step()
        if step is not None:
            loss = float(position.losses[step - 1])
            raise Diverged(f"the loss became {loss} in step {step} of epoch {epoch}; {advice}")
        if self.recipe.skip_norm is None and self.optimisation.gradient_is_broken():
            raise Diverged(f"the gradient was not finite in step {position.taken} of epoch {epoch}; {advice}")
        try:
            check_finite(self.run.model, self.run.guide)
        except UserError as error:
            what = str(error).partition(";")[0]
            raise Diverged(f"{what}, by step {position.taken} of epoch {epoch}; {advice}") from None

    def _record(self, means: torch.Tensor) -> None:
        position, images = self.position, self.batches.steps * self._images_a_step
        scalars = {
            "learning_rate": self.optimisation.learning_rate,
            **self.optimisation.measured(),
            "seconds": position.seconds,
            "images_per_second": images / position.seconds,
        }
        if self.validation is not None:
            with self.coordination.one_error_for_all(), self.keeping.evaluated():
                sums = self.validation.sums(self.run.model, self.run.guide)
            position.checked = Validation.told(self.fabric.all_reduce(sums, reduce_op="sum"))
        position.history.append(means, self.step.layout, **scalars, **position.checked)
        position.new_epoch()
        self.optimisation.new_epoch()
        if self.validation is not None and position.history.is_best("validation_loss"):
            self.keeping.save_best()
        self._log()

    def _log(self) -> None:
        history, progress = self.position.history, self.run.settings.progress
        if self.fabric.is_global_zero:
            line = epoch_line(len(history), self.run.settings.epochs, history.last())
            logger.info("%s", line)
            if progress and not drawable() and not logger.isEnabledFor(logging.INFO):
                print(line, file=sys.stderr)  # noqa: T201 - without a terminal there is no bar

    def _epochs_left(self) -> int:
        return 0 if self.position.finished else max(0, self.run.settings.epochs - len(self.position.history))

    def _steps_left(self) -> int:
        return self._epochs_left() * self.batches.steps - self.position.taken

    def _apply_stopping_rule(self) -> None:
        rule, position = self.recipe.stopping, self.position
        watches = rule.watches if rule else "loss" if self.validation is None else "validation_loss"
        self.optimisation.end_epoch(position.history.rows[watches][-1])
        if rule is None or not position.judged(rule):
            return
        if position.drops == rule.drops:
            position.finished = True
            return
        position.drops += 1
        position.stable_from = len(position.history)
        self.optimisation.lower(rule.factor)

    def _show(self) -> None:
        """The history so far to whoever wants to look at the pair after each epoch."""
        if self.run.settings.after_epoch is None:
            return
        with self.coordination.one_error_for_all(), self.keeping.evaluated():
            if self.fabric.is_global_zero:
                self.run.settings.after_epoch(self.position.history.to_xarray())

    def _logs(self) -> Logs:
        """One process writes for all."""
        return Logs(self.run.directory if self.fabric.is_global_zero else None, len(self.position.history))

    def _save_unfinished(self) -> None:
        """In the middle of an epoch."""
        self._check()
        self.keeping.save()

    def _wishes(self) -> Wishes:
        """This process's: one clock decides for all."""
        return Wishes(self.asked.code, self.fabric.is_global_zero and self.keeping.late())

    def _end_if(self, code: int) -> None:
        """``Interrupted`` with this exit code, unless it is zero; all is saved first."""
        if not code:
            return
        position, there = self.position, self.run.checkpoint if self.run.directory else None
        if position.taken:
            where = f"after step {position.taken} of epoch {position.epoch}"
        else:
            where = f"after epoch {len(position.history)}"
        if there is None:
            raise Interrupted(f"interrupted {where}; nothing was saved, as there is no directory", code)
        if position.taken:
            self._save_unfinished()
        raise Interrupted(f"interrupted {where}, which {there} holds; resume continues there", code)
