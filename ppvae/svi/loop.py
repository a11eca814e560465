"""The training loop."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
import xarray as xr
from lightning_fabric import Fabric
from torch import nn
from tqdm.auto import tqdm

from ppvae.datasets import ImageDataset
from ppvae.datasets.images import StoredImages
from ppvae.errors import UserError, check_positive, check_whole
from ppvae.objectives import BetaELBO
from ppvae.pairs import check_images, check_pair
from ppvae.svi.batches import Batches, mixed, unit_interval
from ppvae.svi.checkpoints import load_checkpoint, load_states, save_checkpoint
from ppvae.svi.history import History
from ppvae.svi.logs import Logs
from ppvae.svi.step import Step
from ppvae.svi.stopping import Plateau

__all__ = ["fit"]


def fit(
    model: nn.Module,
    guide: nn.Module,
    data: ImageDataset | torch.Tensor,
    objective: BetaELBO | None = None,
    *,
    epochs: int = 100,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    stopping: Plateau | None = None,
    seed: int = 0,
    compile: bool = True,
    accelerator: str = "auto",
    devices: int = 1,
    directory: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Train a pair by SVI, in place, and return its history.

    ``data``: an :class:`~ppvae.datasets.ImageDataset`, or images (image, C, H, W) as the likelihood takes them.
    ``objective``: by default the ELBO with closed-form KLs. ``epochs`` is the most to train; ``stopping`` may end
    earlier. ``batch_size`` images a step, over all ``devices``; a last, smaller batch is left out of its epoch.
    ``compile`` captures the step and compiles it; where that fails, training runs eagerly and the log says why.
    ``directory`` receives ``checkpoint.pt``, ``history.csv`` and TensorBoard's events after each epoch; ``resume``
    continues from that checkpoint with the numbers of an uninterrupted run.

    Returns: Dataset over ``epoch`` with loss, elbo, rate, distortion, kl and the guide's recorded sites, epoch means
    in nats per image, and learning_rate, seconds, images_per_second.
    Errors: :class:`~ppvae.errors.UserError` for data, pair, numbers or checkpoint that do not fit.
    """
    settings = _Settings(epochs, batch_size, learning_rate, stopping, seed, compile, progress)
    where = None if directory is None else Path(directory)
    run = _Run(model, guide, objective or BetaELBO(), _pixels(data), settings, where, resume)
    _check(run, devices)
    if devices == 1:
        return _train(Fabric(accelerator=accelerator, devices=1), run).to_xarray()
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn")
    history, states = fabric.launch(_train_share, run)
    model.load_state_dict(states["model"])
    guide.load_state_dict(states["guide"])
    return history.to_xarray()


@dataclass(frozen=True)
class _Settings:
    epochs: int
    batch_size: int
    learning_rate: float
    stopping: Plateau | None
    seed: int
    compile: bool
    progress: bool


@dataclass(frozen=True)
class _Run:
    model: nn.Module
    guide: nn.Module
    objective: BetaELBO
    pixels: Any  # (image, C, H, W): a tensor, or images drawn on demand
    settings: _Settings
    directory: Path | None
    resume: bool

    @property
    def checkpoint(self) -> Path:
        return self.directory / "checkpoint.pt"


@dataclass
class _State:
    """What a checkpoint holds beside the pair and the optimiser."""

    history: History
    drops: int = 0  # learning-rate drops so far
    stable_from: int = 0  # epochs before this one no longer count for the plateau
    finished: bool = False


def _pixels(data: ImageDataset | torch.Tensor) -> Any:
    if isinstance(data, torch.Tensor):
        return data
    return data.images.stored() if isinstance(data.images, StoredImages) else data.images


def _check(run: _Run, devices: int) -> None:
    settings = run.settings
    for name, program in (("model", run.model), ("guide", run.guide)):
        if not isinstance(program, nn.Module):
            raise UserError(f"{name} is a {type(program).__name__}; expected an nn.Module such as ppvae.Program")
    for name, value in (("epochs", settings.epochs), ("batch_size", settings.batch_size), ("devices", devices)):
        check_whole(name, value, 1)
    check_whole("seed", settings.seed, 0)
    check_positive("learning_rate", settings.learning_rate)
    if settings.batch_size % devices:
        raise UserError(f"batch_size {settings.batch_size} cannot be shared by {devices} devices; give a multiple")
    if run.resume and run.directory is None:
        raise UserError("resume=True needs the directory of the run to continue")
    if isinstance(run.pixels, torch.Tensor):
        check_images(run.pixels, run.model, run.guide)
    few = torch.arange(min(8, len(run.pixels)))
    sample = run.pixels[few] if isinstance(run.pixels, torch.Tensor) else run.pixels.stored(few)
    device = next(run.guide.parameters()).device
    check_pair(run.model, run.guide, unit_interval(sample.to(device)), run.objective)


def _train_share(fabric: Fabric, run: _Run) -> tuple[History, dict[str, Any]]:
    """One process of several: train, and hand the pair back on the CPU."""
    history = _train(fabric, run)
    pair = {"model": run.model, "guide": run.guide}
    return history, {k: {n: t.cpu() for n, t in m.state_dict().items()} for k, m in pair.items()}


def _train(fabric: Fabric, run: _Run) -> History:
    settings = run.settings
    step = Step(run.model, run.guide, run.objective).to(fabric.device).train()
    adam = torch.optim.Adam(step.parameters(), lr=settings.learning_rate, fused=True)
    state = _restored(run, adam) if run.resume else _State(History())
    ranks = (fabric.global_rank, fabric.world_size)
    batches = Batches(run.pixels, settings.batch_size, settings.seed, fabric.device, *ranks)
    todo = 0 if state.finished else settings.epochs - len(state.history)
    if todo < 1:
        return state.history
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(settings.seed)
        step.prepare(batches.first(), _Weight(run.objective, fabric.device)(0), compiled=settings.compile)
        module, optimizer = fabric.setup(step, adam, move_to_device=False)
        directory = run.directory if fabric.is_global_zero else None
        bar = tqdm(total=todo * batches.steps, unit="step", disable=not (settings.progress and fabric.is_global_zero))
        with pyro.validation_enabled(False), Logs(directory, len(state.history)) as logs, bar:
            while not state.finished and len(state.history) < settings.epochs:
                _epoch(fabric, run, module, optimizer, batches, state, step, bar)
                _apply_stopping_rule(state, settings.stopping, adam)
                logs.write(state.history)
                if directory is not None:
                    save_checkpoint(run.checkpoint, _content(run, adam, state))
    return state.history


def _epoch(
    fabric: Fabric, run: _Run, module: Any, optimizer: Any, batches: Batches, state: _State, step: Step, bar: tqdm
) -> None:
    epoch = len(state.history)
    torch.manual_seed(mixed(run.settings.seed, epoch, fabric.global_rank))
    weight = _Weight(run.objective, fabric.device)
    images = batches.size * fabric.world_size
    total, start = 0, time.perf_counter()
    for count, pixels in enumerate(batches.epoch(epoch), start=1):
        optimizer.zero_grad()
        loss, values = module(pixels, weight(epoch * batches.steps + count - 1))
        fabric.backward(loss)
        optimizer.step()
        total = total + values
        if bar.update():  # only when it draws: reading the numbers waits for the device
            loss_now, distortion, rate = (total[:3] / count).tolist()
            speed = count * images / (time.perf_counter() - start)
            bar.set_postfix_str(
                f"epoch {epoch + 1} loss {loss_now:.6g} rate {rate:.4g} "
                f"distortion {distortion:.6g} {speed:.0f} images/s"
            )
    means = fabric.all_reduce(total / batches.steps, reduce_op="mean")
    seconds = time.perf_counter() - start
    learning_rate = optimizer.param_groups[0]["lr"]
    if not torch.isfinite(means[0]):
        raise UserError(
            f"the loss became {means[0].item()} in epoch {epoch + 1}; lower learning_rate (now {learning_rate:g}) "
            "or look for extreme pixels; the last epoch's checkpoint is kept"
        )
    speed = batches.steps * images / seconds
    state.history.append(means, step.layout, learning_rate=learning_rate, seconds=seconds, images_per_second=speed)


class _Weight:
    """The objective's weight as a tensor on the device, made anew only when it changes."""

    def __init__(self, objective: BetaELBO, device: torch.device) -> None:
        self.objective = objective
        self.device = device
        self.value: float | None = None

    def __call__(self, step: int) -> torch.Tensor:
        value = self.objective.weight(step)
        if value != self.value:
            self.value = value
            self.tensor = torch.tensor(value, device=self.device)
        return self.tensor


def _apply_stopping_rule(state: _State, rule: Plateau | None, adam: torch.optim.Optimizer) -> None:
    if rule is None or not rule.reached(state.history.rows["loss"][state.stable_from :]):
        return
    if state.drops == rule.drops:
        state.finished = True
        return
    state.drops += 1
    state.stable_from = len(state.history)
    for group in adam.param_groups:
        group["lr"] *= rule.factor


def _fingerprint(run: _Run) -> dict[str, Any]:
    """What must not change between a run and its continuation."""
    settings = run.settings
    same = {"seed": settings.seed, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate}
    return {**same, "images": len(run.pixels), **asdict(run.objective)}


def _content(run: _Run, adam: torch.optim.Optimizer, state: _State) -> dict[str, Any]:
    return {
        "model": run.model.state_dict(),
        "guide": run.guide.state_dict(),
        "optimizer": adam.state_dict(),
        "history": state.history.state(),
        "stopping": {"drops": state.drops, "stable_from": state.stable_from, "finished": state.finished},
        "settings": _fingerprint(run),
    }


def _restored(run: _Run, adam: torch.optim.Optimizer) -> _State:
    content = load_checkpoint(run.checkpoint)
    for name, value in _fingerprint(run).items():
        if content["settings"].get(name) != value:
            raise UserError(
                f"checkpoint {run.checkpoint} was trained with {name}={content['settings'].get(name)}, "
                f"now it is {value}; give the same value to resume"
            )
    load_states(run.checkpoint, content, model=run.model, guide=run.guide)
    adam.load_state_dict(content["optimizer"])
    return _State(History.from_state(content["history"]), **content["stopping"])
