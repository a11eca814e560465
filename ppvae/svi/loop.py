"""The training loop of one process."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyro
import torch
from torch import nn
from tqdm.auto import tqdm

from ppvae.datasets.conversion import Conversion
from ppvae.errors import UserError
from ppvae.objectives import Objective
from ppvae.pair.untouched import parameter_store_kept, unit_of
from ppvae.svi.batches import Batches, mixed
from ppvae.svi.checkpoints import load_checkpoint, load_states, save_checkpoint
from ppvae.svi.execution import Execution, Wish
from ppvae.svi.history import History
from ppvae.svi.logs import Logs
from ppvae.svi.step import Step
from ppvae.svi.stopping import Plateau

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Loop", "Run", "Settings"]


@dataclass(frozen=True)
class Settings:
    """How to train; the arguments of :func:`ppvae.fit` of the same names."""

    epochs: int
    batch_size: int
    learning_rate: float
    stopping: Plateau | None
    seed: int
    execution: Wish
    progress: bool


@dataclass(frozen=True)
class Run:
    """What to train, on what, how, and where to keep it."""

    model: nn.Module
    guide: nn.Module
    objective: Objective
    pixels: Any  # (image, C, H, W): a tensor, or images drawn on demand
    given: tuple[torch.Tensor, ...]  # what the programs take beside them, (image, ...) each
    conversion: Conversion  # of stored pixels to what the likelihood takes
    settings: Settings
    directory: Path | None
    resume: bool

    @property
    def checkpoint(self) -> Path:
        return self.directory / "checkpoint.pt"

    def fingerprint(self) -> dict[str, Any]:
        """What must not change between a run and its continuation."""
        same = ("seed", "batch_size", "learning_rate")
        settings = {name: getattr(self.settings, name) for name in same}
        fields = {f"objective.{name}": _plain(value) for name, value in vars(self.objective).items()}
        objective = {"objective": type(self.objective).__name__, **fields}
        inputs = {"inputs": len(self.given)} if self.given else {}
        return {**settings, "images": len(self.pixels), **inputs, **vars(self.conversion), **objective}


def _plain(value: Any) -> str:
    """A setting as a string that is the same in every process: a function by its name, not its address."""
    return getattr(value, "__qualname__", None) or repr(value)


class Loop:
    """Trains a run's pair epoch by epoch; what an epoch needs of the past is in the checkpoint.

    Each epoch's shuffling and noise come from (seed, epoch, process) alone, which is why a resumed run continues
    with the numbers of an uninterrupted one.
    """

    def __init__(self, fabric: "Fabric", run: Run) -> None:
        self.fabric, self.run, settings = fabric, run, run.settings
        self.objective = copy.deepcopy(run.objective.bound_to(len(run.pixels)))  # the caller's keeps its own state
        self.step = Step(run.model, run.guide, self.objective, run.conversion, population=len(run.pixels))
        self.step.to(fabric.device).train()
        self.adam = torch.optim.Adam(self.step.parameters(), lr=settings.learning_rate, fused=True)
        ranks = (fabric.global_rank, fabric.world_size)
        self.batches = Batches(run.pixels, settings.batch_size, settings.seed, fabric.device, *ranks, given=run.given)
        self.numbers = _Numbers(self.objective, fabric.device)
        self.history = History(units=unit_of(run.model))
        self.drops = 0  # learning-rate drops so far
        self.stable_from = 0  # epochs before this one no longer count for the plateau
        self.finished = False
        self.execution: Execution | None = None  # how the resumed run's steps ran: rounding differs between the ways
        if run.resume:
            self._restore()

    def train(self) -> History:
        """Train to the last epoch or to the stopping rule's end."""
        settings, fabric = self.run.settings, self.fabric
        if self._epochs_left() == 0:
            return self.history
        cuda = [fabric.device] if fabric.device.type == "cuda" else []
        with parameter_store_kept(), torch.random.fork_rng(devices=cuda):
            torch.manual_seed(settings.seed)
            with self._bar() as bar:
                self._prepare(bar)
                self._train(bar)
        self.history.execution = self.step.execution
        return self.history

    def _prepare(self, bar: tqdm) -> None:
        """Make the step ready; the first of several processes chooses for all, as rounding differs between the ways."""
        fabric, wish = self.fabric, self.run.settings.execution
        if wish == "auto" and self.execution is not None:
            wish = self.execution
        batch = (*self.batches.first(), self.numbers(0))
        if fabric.is_global_zero:
            steps = self._epochs_left() * self.batches.steps
            self.step.prepare(*batch, execution=wish, steps=steps, tell=bar.set_postfix_str)
        way = fabric.broadcast(self.step.execution) if fabric.world_size > 1 else self.step.execution
        if not fabric.is_global_zero:
            self.step.prepare(*batch, execution=way)
        bar.set_postfix_str("")
        bar.unpause()  # the speed is that of training

    def _train(self, bar: tqdm) -> None:
        module, optimizer = self.step, self.adam
        if self.fabric.world_size > 1:  # alone, Fabric's wrappers would cost time: 3 % of a small network's step
            module, optimizer = self.fabric.setup(self.step, self.adam, move_to_device=False)
        with pyro.validation_enabled(False), self._logs() as logs:
            while self._epochs_left() > 0:
                self._epoch(module, optimizer, bar)
                self._apply_stopping_rule()
                logs.write(self.history)
                if logs.directory is not None:
                    save_checkpoint(self.run.checkpoint, self._content())

    def _epoch(self, module: Any, optimizer: Any, bar: tqdm) -> None:
        epoch, batches = len(self.history), self.batches
        torch.manual_seed(mixed(self.run.settings.seed, epoch, self.fabric.global_rank))
        total, start = 0, time.perf_counter()
        for count, batch in enumerate(batches.epoch(epoch), start=1):
            optimizer.zero_grad()
            loss, values = module(*batch, self.numbers(epoch * batches.steps + count - 1))
            loss.backward()
            optimizer.step()
            total = total + values
            if bar.update():  # only when it draws: reading the numbers waits for the device
                bar.set_postfix_str(self._said(total / count, time.perf_counter() - start, count))
        means = self.fabric.all_reduce(total / batches.steps, reduce_op="mean").cpu()  # waits for the device
        self._record(means, time.perf_counter() - start)

    def _said(self, means: torch.Tensor, seconds: float, steps: int) -> str:
        """Progress so far in this epoch."""
        loss, distortion, rate = means[:3].tolist()
        speed = steps * self.batches.size * self.batches.ranks / seconds
        return (
            f"epoch {len(self.history) + 1} loss {loss:.6g} rate {rate:.4g} "
            f"distortion {distortion:.6g} {speed:.0f} images/s"
        )

    def _record(self, means: torch.Tensor, seconds: float) -> None:
        learning_rate = self.adam.param_groups[0]["lr"]
        if not torch.isfinite(means[0]):
            raise UserError(
                f"the loss became {means[0].item()} in epoch {len(self.history) + 1}; lower learning_rate "
                f"(now {learning_rate:g}) or look for extreme pixels; the last epoch's checkpoint is kept"
            )
        speed = self.batches.steps * self.batches.size * self.batches.ranks / seconds
        scalars = {"learning_rate": learning_rate, "seconds": seconds, "images_per_second": speed}
        self.history.append(means, self.step.layout, **scalars)

    def _epochs_left(self) -> int:
        return 0 if self.finished else max(0, self.run.settings.epochs - len(self.history))

    def _apply_stopping_rule(self) -> None:
        rule = self.run.settings.stopping
        if rule is None or not rule.reached(self.history.rows["loss"][self.stable_from :]):
            return
        if self.drops == rule.drops:
            self.finished = True
            return
        self.drops += 1
        self.stable_from = len(self.history)
        for group in self.adam.param_groups:
            group["lr"] *= rule.factor

    def _logs(self) -> Logs:
        """One process writes for all."""
        return Logs(self.run.directory if self.fabric.is_global_zero else None, len(self.history))

    def _bar(self) -> tqdm:
        hidden = not (self.run.settings.progress and self.fabric.is_global_zero)
        return tqdm(total=self._epochs_left() * self.batches.steps, unit="step", disable=hidden)

    def _content(self) -> dict[str, Any]:
        """The checkpoint."""
        return {
            "model": self.run.model.state_dict(),
            "guide": self.run.guide.state_dict(),
            "objective": {} if self.objective.state is None else self.objective.state.state_dict(),
            "optimizer": self.adam.state_dict(),
            "history": self.history.state(),
            "stopping": {"drops": self.drops, "stable_from": self.stable_from, "finished": self.finished},
            "settings": self.run.fingerprint(),
            "execution": self.step.execution,
        }

    def _restore(self) -> None:
        path, content = self.run.checkpoint, load_checkpoint(self.run.checkpoint)
        now, then = self.run.fingerprint(), content.get("settings", {})
        for name in sorted(now.keys() | then.keys()):
            if then.get(name) != now.get(name):
                raise UserError(
                    f"checkpoint {path} was trained with {name}={then.get(name)}, now it is {now.get(name)}; "
                    "give the same to resume"
                )
        load_states(path, content, model=self.run.model, guide=self.run.guide)
        if self.objective.state is not None:
            load_states(path, content, objective=self.objective.state)
        self.adam.load_state_dict(content["optimizer"])
        self.history = History.from_state(content["history"], unit_of(self.run.model))
        self.execution = self.history.execution = content["execution"]
        for name, value in content["stopping"].items():
            setattr(self, name, value)


class _Numbers:
    """The objective's numbers of a step as a tensor on the device, made anew only when they change."""

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self.objective = objective
        self.device = device
        self.values: tuple[float, ...] | None = None

    def __call__(self, step: int) -> torch.Tensor:
        values = self.objective.numbers(step)
        if values != self.values:
            self.values = values
            self.tensor = torch.tensor(values, device=self.device)
        return self.tensor
