"""How the parameters are moved: optimiser, schedule, clipping, averaging, precision, accumulation, stopping."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ppvae.described import shown
from ppvae.errors import UserError, check_choice, check_not_negative, check_positive, check_whole
from ppvae.svi.stopping import StoppingRule

__all__ = ["Precision", "Recipe", "Recompute"]

Precision = Literal["full", "bf16"]
type Recompute = int | Literal["auto"] | None
OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "sgd": torch.optim.SGD,
}
FUSED = ("adam", "adamw", "sgd")  # torch has one kernel for all parameters
MAY_CHANGE = ("learning_rate", "stopping", "recompute", "memory_budget")
SCHEDULES = ("constant", "cosine")


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything between a gradient and the parameters, as a paper's appendix lists it.

    ``optimizer``: adam, adamw, adamax or sgd, with ``options`` (``eps``, ``betas``, ``momentum``, ...) as torch names
    them; or any callable ``(parameters, lr=...)`` that makes a ``torch.optim.Optimizer``.
    ``schedule``: constant; cosine, to ``final`` · learning rate at the last step of the run; or a callable
    ``optimizer → LRScheduler`` for any of torch's, stepped after each epoch (``ReduceLROnPlateau`` with what the
    stopping rule watches, else the validation's loss or, without one, the training's) or after each ``"step"``, as
    ``stepped`` says. ``warmup``: the first so many steps, in which the rate rises linearly from nearly zero.
    ``clip_norm`` bounds the gradient's norm over all parameters, ``clip_value`` each of its entries. ``skip_norm``: a
    step whose gradient has a larger norm, or is not finite, leaves the parameters as they are and is counted in the
    history's ``skipped``; infinity skips those alone that are not finite.
    ``average``: decay d of an exponential moving average of the parameters, min(d, (1 + n) / (10 + n)) after n steps;
    validation, checkpoints and the trained pair have the average, with BatchNorm statistics of its own.
    ``precision``: ``bf16`` runs networks, that is modules which take and give tensors and draw nothing, under
    autocast; distributions, KLs and log-probabilities stay in single precision, as do the parameters.
    ``accumulate``: the parts of a batch that are computed one after another, for less memory. Means over a batch inside
    an objective (free bits, capacity, total correlation) and BatchNorm's are then over a part.
    ``flip``: each training image is mirrored, left to right, with probability ½; validation and what is measured after
    training see images as they are.
    ``recompute``: so many segments, cut where little crosses, in which a captured step runs; all but the last keep what
    they were given alone and are computed again in the backward pass, with the same noise, values and gradients and one
    update of BatchNorm's statistics. More segments keep less, at most one more forward pass in time is paid; ``auto``:
    about the root of the number of operations. Nothing is compiled then, unless there is a ``memory_budget``, in
    (0, 1]: the share of its activations that a *compiled* step keeps, draws not counted; ``execution="auto"`` then
    means compiled. A step that is to save memory is compared with eager Pyro's on a sixteenth of its images, as
    comparing takes several times what it needs. Both may change when a run is resumed.
    ``stopping``: when to lower the rate and when to end; :class:`~ppvae.svi.Plateau`, :class:`~ppvae.svi.Patience`.

    Errors: :class:`~ppvae.errors.UserError` for a name or a number out of range.
    """

    learning_rate: float = 1e-3
    optimizer: str | Callable[..., Optimizer] = "adam"
    options: dict[str, Any] | None = None
    schedule: str | Callable[[Optimizer], LRScheduler] = "constant"
    stepped: Literal["epoch", "step"] = "epoch"
    warmup: int = 0
    final: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    skip_norm: float | None = None
    average: float | None = None
    precision: Precision = "full"
    accumulate: int = 1
    flip: bool = False
    recompute: Recompute = None
    memory_budget: float | None = None
    stopping: StoppingRule | None = None

    def __post_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)
        _check_named("optimizer", self.optimizer, OPTIMIZERS)
        _check_named("schedule", self.schedule, SCHEDULES)
        check_choice("stepped", self.stepped, ("epoch", "step"))
        check_whole("warmup", self.warmup, 0)
        check_not_negative("final", self.final)
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        if self.skip_norm is not None and self.skip_norm != math.inf:
            check_positive("skip_norm", self.skip_norm)
        if self.average is not None and not (isinstance(self.average, float) and 0 < self.average < 1):
            raise UserError(f"average={self.average!r}: expected a decay between 0 and 1, such as 0.999")
        check_choice("precision", self.precision, get_args(Precision))
        check_whole("accumulate", self.accumulate, 1)
        if type(self.flip) is not bool:
            raise UserError(f"flip={self.flip!r}: expected true or false")
        _check_memory(self.recompute, self.memory_budget)
        if self.stopping is not None and not isinstance(self.stopping, StoppingRule):
            kind = type(self.stopping).__name__
            raise UserError(f"stopping is a {kind}; expected a rule such as Plateau() or Patience()")
        self._try()

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> Optimizer:
        """The optimiser of these parameters, at the full learning rate."""
        options = dict(self.options or {})
        if isinstance(self.optimizer, str):
            if self.optimizer in FUSED:
                options.setdefault("fused", True)
            return OPTIMIZERS[self.optimizer](parameters, lr=self.learning_rate, **options)
        return self.optimizer(parameters, lr=self.learning_rate, **options)

    def make_schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """What moves the optimiser's learning rate over a run of so many steps."""
        if not isinstance(self.schedule, str):
            return self.schedule(optimizer)
        return LambdaLR(optimizer, lambda step: self.factor(step, steps))

    def factor(self, step: int, steps: int) -> float:
        """The learning rate of a step, 0 the first, as a share of the full one."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if self.schedule == "constant":
            return 1.0
        progress = min(1.0, (step - self.warmup) / max(1, steps - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))

    @property
    def every_step(self) -> bool:
        """Whether the schedule moves after each step."""
        return isinstance(self.schedule, str) or self.stepped == "step"

    @property
    def computing(self) -> dict[str, Any]:
        """What a step has to know: how it computes, whatever is made of its gradient."""
        names = ("precision", "flip", "recompute", "memory_budget")
        return {name: getattr(self, name) for name in names}

    def described(self) -> dict[str, str]:
        """What must be the same for a run to be continued: all but what moves no parameter, the rate and the rule."""
        return {name: _plain(value) for name, value in vars(self).items() if name not in MAY_CHANGE}

    def _try(self) -> None:
        """UserError now for what torch would refuse later."""
        try:
            optimizer = self.make_optimizer([torch.nn.Parameter(torch.zeros(1))])
            schedule = self.make_schedule(optimizer, 1) if isinstance(optimizer, Optimizer) else None
        except (TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"optimizer={shown(self.optimizer)}, schedule={shown(self.schedule)}: {reason}") from None
        if not isinstance(optimizer, Optimizer):
            raise UserError(f"optimizer={shown(self.optimizer)} made a {type(optimizer).__name__}, no torch Optimizer")
        if not isinstance(schedule, LRScheduler):
            raise UserError(f"schedule={shown(self.schedule)} made a {type(schedule).__name__}, no torch LRScheduler")
        if self.warmup and not isinstance(self.schedule, str):
            raise UserError(
                "warmup goes with schedule=constant or cosine; a scheduler of torch's has its own, SequentialLR"
            )


def _check_named(name: str, value: Any, choices: Iterable[str]) -> None:
    if callable(value):
        return
    if value not in choices:
        raise UserError(f"{name}={value!r}: expected one of {', '.join(choices)}, or a callable that makes one")


def _check_memory(recompute: Any, budget: Any) -> None:
    if recompute is not None and recompute != "auto" and (type(recompute) is not int or recompute < 0):
        raise UserError(f"recompute={recompute!r}: expected a number of segments, such as 4, 'auto', or 0 for none")
    if budget is not None and (type(budget) not in (int, float) or not 0 < budget <= 1):
        raise UserError(
            f"memory_budget={budget!r}: expected a share of the activations above 0 and up to 1, such as 0.5"
        )


def _plain(value: Any) -> str:
    """The same in every process: a partial by what it calls and with what."""
    if hasattr(value, "func"):
        return f"{shown(value.func)}({', '.join(f'{k}={shown(v)}' for k, v in value.keywords.items())})"
    return shown(value) if callable(value) else repr(value)
