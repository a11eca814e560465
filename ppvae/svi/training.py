"""Training a pair: what a user calls, and what is checked before anything is trained."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
import xarray as xr
from torch import nn

from ppvae.checks import check_given, check_images, check_kind, check_pair
from ppvae.datasets import ImageDataset
from ppvae.datasets.conversion import Conversion
from ppvae.datasets.table_rows import Rows
from ppvae.errors import UserError, check_choice, check_not_negative, check_whole
from ppvae.files import locked
from ppvae.launchers import Launched, launched
from ppvae.objectives import BetaELBO, Objective
from ppvae.pair.program import Data, inputs_of
from ppvae.pair.terms import pair_traces
from ppvae.pair.untouched import device_of, evaluating
from ppvae.svi.checkpoints import load_checkpoint, load_states, save_checkpoint
from ppvae.svi.execution import Wish
from ppvae.svi.history import History
from ppvae.svi.launching import fabric_of, join, spawn
from ppvae.svi.loop import Loop
from ppvae.svi.recipe import Recipe
from ppvae.svi.run import Run, Settings
from ppvae.svi.stopping import Patience, Plateau, StoppingRule
from ppvae.svi.validation import split

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["fit"]


def fit(
    model: nn.Module,
    guide: nn.Module,
    data: ImageDataset | Data,
    objective: Objective | None = None,
    *,
    epochs: int = 100,
    batch_size: int = 64,
    learning_rate: float | None = None,
    stopping: StoppingRule | None = None,
    recipe: Recipe | None = None,
    validation: float | ImageDataset | Data | None = None,
    seed: int = 0,
    execution: Wish = "auto",
    compile: bool = True,
    accelerator: str = "auto",
    devices: int | None = None,
    directory: Path | str | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    save_minutes: float | None = 10.0,
    after_epoch: Callable[[xr.Dataset], None] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Train a pair by SVI, in place, and return its history.

    ``data``: an :class:`~ppvae.datasets.ImageDataset`, or images (image, C, H, W): floats as the likelihood takes
    them, or uint8 in 0..255, which are divided by 255; or a tuple of images and whatever else the programs take of
    each, (image, ...), such as labels, as an ``ImageDataset`` with ``inputs`` does.
    ``objective``: by default the ELBO with closed-form KLs. ``epochs`` is the most to train; a stopping rule may end
    earlier. ``batch_size`` images a step, over all processes; a last, smaller batch is left out of its epoch.
    ``devices``: processes to start on this machine, a device each, which share each batch; by default those that
    torchrun or Slurm's srun started this one with, on all machines, else one. Objectives see the whole batch. Each
    draws noise of its own; BatchNorm normalises over its share. A run may be resumed with another number of them.
    ``recipe``: how the parameters are moved, by default Adam at 1e-3; ``learning_rate`` and ``stopping`` take the place
    of the recipe's own. ``validation``: a share of the images, drawn by ``seed``, that is held apart, or other images;
    after each epoch the history has their loss, bound, rate and distortion, and ``best.pt`` the lowest loss's pair.
    ``execution`` is how steps run: "eager", by Pyro's handlers; "captured", recorded once as a graph of tensor
    operations in which nothing is computed twice; "compiled", that graph through ``torch.compile``; "auto", captured or
    compiled, whichever takes this run less time, compilation included. The first run that is long enough to repay a
    compilation times both; the outcome is kept in ``~/.cache/ppvae``. Where a way fails, or Python changes between
    steps what a graph would freeze, the next simpler one is taken and the log says why. ``compile=False`` means
    "eager". The history's ``execution`` attribute says which it was; a resumed run goes on that way.
    ``directory`` receives ``checkpoint.pt``, ``history.csv`` and TensorBoard's events after each epoch, and the
    checkpoint every ``save_steps`` steps and ``save_minutes`` minutes too; ``resume`` continues from it, in the middle
    of an epoch as well, with the numbers of an uninterrupted run. SIGINT and SIGTERM end a run once its step is
    finished and saved.
    ``after_epoch`` is called with the history so far after each epoch, before it is saved, while model and guide are as
    they would be handed over (with averaged parameters, where the recipe averages them); of processes that a launcher
    started in the first alone.

    Returns: Dataset over ``epoch`` with loss, elbo, rate, distortion, kl and the guide's recorded sites, epoch means
    in nats per image, and learning_rate, gradient_norm (mean and, as largest_gradient_norm, largest), seconds,
    images_per_second.
    Errors: :class:`~ppvae.errors.UserError` for data, pair, numbers or checkpoint that do not fit; one of its kind,
    :class:`~ppvae.errors.Diverged`, where the loss does: the checkpoint then keeps the last good state.
    :class:`~ppvae.errors.Interrupted` after a signal.
    """
    check_choice("execution", execution, get_args(Wish))
    if not compile and execution not in ("auto", "eager"):
        raise UserError(f"execution={execution!r} with compile=False, which means 'eager'; leave one of them out")
    way = execution if compile else "eager"
    recipe = _recipe(recipe, learning_rate, stopping, model)
    settings = Settings(epochs, batch_size, recipe, seed, way, progress, save_steps, save_minutes, after_epoch)
    where = None if directory is None else Path(directory)
    if isinstance(validation, Real):
        _pixels(data)
        data, validation = split(data, validation, seed)
    pixels, given, conversion = _pixels(data)
    run = Run(model, guide, objective or BetaELBO(), pixels, given, conversion, validation, settings, where, resume)
    if isinstance(data, ImageDataset):
        check_kind(model, data)
    processes, joined = _processes(devices)
    _check(run, processes)
    fabric = fabric_of(accelerator, processes, joined)
    if joined:
        join(fabric)
        where, resume = fabric.broadcast((run.directory, run.resume))  # theirs may have another time in its name
        run = replace(run, directory=where, resume=resume)
    with _locked_by_first(fabric, where, joined):
        if joined or processes == 1:
            return Loop(fabric, run).train().to_xarray()
        return _spawned(run, accelerator, processes)


@contextmanager
def _locked_by_first(fabric: "Fabric", directory: Path | None, joined: Launched | None) -> Iterator[None]:
    """The folder locked by the first process; all of them hear it where that is not possible."""
    with ExitStack() as held:
        mistake = None
        if directory is not None and fabric.is_global_zero:
            try:
                held.enter_context(locked(directory))
            except UserError as error:
                mistake = str(error)
        mistake = fabric.broadcast(mistake) if joined else mistake
        if mistake is not None:
            raise UserError(mistake)
        yield


def _spawned(run: Run, accelerator: str, processes: int) -> xr.Dataset:
    """The history of a run that new processes share; its pair takes over what they trained."""
    model, guide = run.model, run.guide
    with tempfile.TemporaryDirectory() as folder:
        outcome = Path(folder) / "outcome.pt"  # a file: what a process returns must fit into a pipe's buffer
        spawn(partial(_train_share, run=run, outcome=outcome), accelerator, processes)
        content = load_checkpoint(outcome)
    load_states(outcome, content, model=model, guide=guide)
    history = History.from_state(content["history"], run.units)
    history.execution = content["execution"]
    return history.to_xarray()


def _recipe(
    recipe: Recipe | None, learning_rate: float | None, stopping: StoppingRule | None, model: nn.Module
) -> Recipe:
    """The recipe with what is given beside it, its plateau measured from the likelihood's floor."""
    if recipe is not None and not isinstance(recipe, Recipe):
        raise UserError(f"recipe is a {type(recipe).__name__}; expected a Recipe, such as Recipe(optimizer='adamax')")
    given = {"learning_rate": learning_rate, "stopping": stopping}
    recipe = replace(recipe or Recipe(), **{name: value for name, value in given.items() if value is not None})
    rule = recipe.stopping
    if isinstance(rule, Plateau) and rule.floor is None:
        floor = getattr(getattr(model, "likelihood", None), "distortion_floor", 0.0)
        recipe = replace(recipe, stopping=replace(rule, floor=floor))
    return recipe


def _pixels(data: ImageDataset | Data) -> tuple[Any, tuple[torch.Tensor, ...], Conversion]:
    """The images, what programs take beside them, and what is made of the pixels."""
    if isinstance(data, ImageDataset):
        return data.images, data.given(), data.conversion
    pixels, *given = inputs_of(data) or (None,)
    if not isinstance(pixels, torch.Tensor):
        kind = type(pixels).__name__
        raise UserError(f"data is a {kind}; expected an ImageDataset, a tensor of images, or a tuple of one and more")
    return pixels, tuple(given), Conversion()


def _check(run: Run, processes: int) -> None:
    settings = run.settings
    if not isinstance(run.objective, Objective):
        raise UserError(f"objective is a {type(run.objective).__name__}; expected an Objective, such as BetaELBO()")
    for name, program in (("model", run.model), ("guide", run.guide)):
        if not isinstance(program, nn.Module):
            raise UserError(f"{name} is a {type(program).__name__}; expected an nn.Module such as ppvae.Program")
    for name, value in (("epochs", settings.epochs), ("batch_size", settings.batch_size)):
        check_whole(name, value, 1)
    check_whole("seed", settings.seed, 0)
    if settings.save_steps is not None:
        check_whole("save_steps", settings.save_steps, 1)
    if settings.save_minutes is not None:
        check_not_negative("save_minutes", settings.save_minutes)
    if settings.batch_size % (processes * settings.recipe.accumulate):
        shared = f"{processes} devices" + (f" in {p} parts" if (p := settings.recipe.accumulate) > 1 else "")
        raise UserError(f"batch_size {settings.batch_size} cannot be shared by {shared}; give a multiple")
    if isinstance(settings.recipe.stopping, Patience) and run.validation is None:
        raise UserError("Patience judges the validation's loss and there is none; give validation=0.1 or Plateau()")
    if settings.after_epoch is not None and processes > 1 and launched() is None:
        raise UserError(
            f"after_epoch is called where fit was, devices={processes} train in processes of their own; start them by "
            "torchrun, or give devices=1"
        )
    _check_folder(run)
    _check_validation(run)
    few = torch.arange(min(8, len(run.pixels)))
    sample = run.pixels[few] if isinstance(run.pixels, torch.Tensor) else run.pixels.stored(few)
    with torch.random.fork_rng(devices=[]):
        images = run.conversion(sample.cpu()) if sample.dtype == torch.uint8 else sample
    kept = run.pixels.pixels if isinstance(run.pixels, Rows) else run.pixels
    whole = isinstance(kept, torch.Tensor) and kept.is_floating_point()
    check_images(kept if whole else images, run.model, run.guide)
    check_given(run.given, len(run.pixels))
    data = images, *(values[few] for values in run.given)
    check_pair(run.model, run.guide, data, run.objective)
    _check_parameters(run, data)


def _check_folder(run: Run) -> None:
    """UserError where there is no run to continue, or one that would be written over."""
    if run.resume and run.directory is None:
        raise UserError("resume=True needs the directory of the run to continue")
    if not run.resume and run.directory is not None and run.checkpoint.exists():
        raise UserError(f"{run.directory} holds a run already; give resume=True to continue it, or another directory")


def _check_validation(run: Run) -> None:
    if run.validation is None:
        return
    pixels, given, _ = _pixels(run.validation)
    few = pixels[:1] if isinstance(pixels, torch.Tensor) else pixels.stored(slice(1))
    if not len(few) or tuple(few.shape[1:]) != tuple(run.pixels.shape[1:]):
        expected, came = tuple(run.pixels.shape[1:]), tuple(few.shape[1:])
        raise UserError(f"validation has {len(pixels)} images of shape {came}; expected some of shape {expected}")
    if len(given) != len(run.given):
        raise UserError(f"validation has {len(given)} inputs beside its images, the training's data {len(run.given)}")
    check_given(given, len(pixels))
    if isinstance(pixels, torch.Tensor) and pixels.dtype != torch.uint8:
        check_images(pixels, run.model, run.guide)


def _check_parameters(run: Run, data: tuple[torch.Tensor, ...]) -> None:
    """UserError for a parameter that the optimiser would not see."""
    own = {id(p) for module in (run.model, run.guide) for p in module.parameters()}
    if not own:
        raise UserError("model and guide have no parameters; there is nothing to train")
    device = device_of(run.model, run.guide)
    with evaluating(run.model, run.guide, device=device):
        for trace in pair_traces(run.model, run.guide, tuple(values.to(device) for values in data)):
            for name, site in trace.nodes.items():
                if site["type"] == "param" and id(site["value"].unconstrained()) not in own:
                    raise UserError(f"parameter {name!r} lives in Pyro's global store; make it an nn.Parameter")


def _processes(devices: int | None) -> tuple[int, Launched | None]:
    """How many processes train, and those to join where a launcher started them."""
    there = launched()
    if devices is not None:
        check_whole("devices", devices, 1)
        if there and devices not in (1, there.here):
            raise UserError(
                f"devices={devices}, but {there.launcher} started {there.here} processes on this machine; "
                "leave devices out, or start the run without it"
            )
    if there is None or devices == 1:
        return devices or 1, None
    return there.processes, there


def _train_share(fabric: "Fabric", run: Run, outcome: Path) -> None:
    """One of several processes: train a copy (those of one machine share tensors); the first writes the outcome."""
    model, guide = copy.deepcopy((run.model, run.guide))  # together, as they may share a network
    run = replace(run, model=model, guide=guide)
    history = Loop(fabric, run).train()
    if fabric.is_global_zero:
        states = {"model": run.model.state_dict(), "guide": run.guide.state_dict()}
        save_checkpoint(outcome, {**states, "history": history.state(), "execution": history.execution})
