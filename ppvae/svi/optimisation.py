"""One optimiser step by a recipe: clip, skip, move, schedule, average; its state by the parameters' names."""

import math
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_value_, get_total_norm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ppvae.errors import UserError
from ppvae.svi.averaging import Average
from ppvae.svi.recipe import Recipe

__all__ = ["Optimisation"]

SAMPLED = (
    16  # every so many steps the gradient's norm is measured where nothing else needs it: a norm costs 2 % of a step
)


class Optimisation:
    """Moves the parameters of ``module`` as ``recipe`` says, in a run of ``steps`` steps.

    ``norms`` and ``skipped``: of the epoch so far, a gradient norm for each step (NaN where none was measured) and the
    number of steps that were skipped.
    """

    def __init__(self, recipe: Recipe, module: nn.Module, steps: int) -> None:
        self.recipe = recipe
        self.names = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self.parameters = list(self.names.values())
        self.optimizer = recipe.make_optimizer(self.parameters)
        self.schedule = recipe.make_schedule(self.optimizer, steps)
        self.average = None if recipe.average is None else Average(module, recipe.average)
        self.norms: list[torch.Tensor] = []
        self.skipped = 0
        self._none = torch.tensor(math.nan, device=self.parameters[0].device if self.parameters else None)

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, *, last: bool = False) -> None:
        """Take a step along the gradients that the parameters hold; ``last`` of its epoch."""
        recipe, count = self.recipe, len(self.norms)
        needed = recipe.clip_norm is not None or recipe.skip_norm is not None
        norm = self._norm() if needed or last or count % SAMPLED == 0 else None
        self.norms.append(self._none if norm is None else norm)
        if recipe.skip_norm is not None and not float(norm) <= min(recipe.skip_norm, torch.finfo(norm.dtype).max):
            self.skipped += 1
            self._moved_on(skipped=True)
            return
        if recipe.clip_norm is not None:
            self._clip(norm, recipe.clip_norm)
        if recipe.clip_value is not None:
            clip_grad_value_(self.parameters, recipe.clip_value)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        self._moved_on()

    def new_epoch(self) -> None:
        self.norms, self.skipped = [], 0

    def end_epoch(self, watched: float) -> None:
        """Move a schedule of epochs; ``watched``: the loss that the epoch is judged by."""
        if self.recipe.every_step:
            return
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(watched)
        else:
            self.schedule.step()

    def lower(self, factor: float) -> None:
        """Multiply the learning rate, now and whatever the schedule makes of it."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
            if "initial_lr" in group:
                group["initial_lr"] *= factor
        if hasattr(self.schedule, "base_lrs"):
            self.schedule.base_lrs = [rate * factor for rate in self.schedule.base_lrs]

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what the optimiser keeps of each parameter, by its name; all else as torch has it."""
        content = self.optimizer.state_dict()
        groups = [{k: v for k, v in group.items() if k != "params"} for group in content["param_groups"]]
        of_each = dict(zip(self.names, range(len(self.names)), strict=True))
        parameters = {name: content["state"][index] for name, index in of_each.items() if index in content["state"]}
        return {
            "parameters": parameters,
            "groups": groups,
            "schedule": self.schedule.state_dict(),
            "norms": torch.stack(self.norms) if self.norms else torch.empty(0),
            "skipped": self.skipped,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where :meth:`state` left off, whatever order the parameters have now."""
        current = self.optimizer.state_dict()["param_groups"]
        if len(current) != len(state["groups"]) or not state["parameters"].keys() <= self.names.keys():
            odd = sorted(state["parameters"].keys() - self.names.keys())
            raise UserError(f"the checkpoint's optimiser has parameters that this pair does not train: {odd[:3]}")
        groups = [{**saved, "params": own["params"]} for saved, own in zip(state["groups"], current, strict=True)]
        order = {name: index for index, name in enumerate(self.names)}
        states = {order[name]: values for name, values in state["parameters"].items()}
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        if state["schedule"]:
            self.schedule.load_state_dict(state["schedule"])
        self.norms, self.skipped = list(state["norms"].to(self._none.device)), state["skipped"]

    def measured(self) -> dict[str, float]:
        """Of the epoch: mean and largest gradient norm of the steps where it was measured and finite, steps skipped."""
        norms = torch.stack(self.norms) if self.norms else self._none[None]
        known = norms[norms.isfinite()]
        scalars = {
            "gradient_norm": float(known.mean()) if len(known) else math.nan,
            "largest_gradient_norm": float(known.max()) if len(known) else math.nan,
        }
        return scalars | ({} if self.recipe.skip_norm is None else {"skipped": float(self.skipped)})

    def _moved_on(self, *, skipped: bool = False) -> None:
        if not self.recipe.every_step:
            return
        if skipped:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch takes a schedule that is ahead of the optimiser for a mistake
                self.schedule.step()
        else:
            self.schedule.step()

    def _norm(self) -> torch.Tensor:
        return get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def _clip(self, norm: torch.Tensor, most: float) -> None:
        """As torch's own, but for a pass over the gradients that would change nothing (where to look costs nothing)."""
        if norm.device.type == "cpu" and float(norm) <= most:
            return
        scale = (most / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([p.grad for p in self.parameters if p.grad is not None], scale)

    def gradient_is_broken(self) -> bool:
        """Whether the gradients that the parameters hold, those of the last step, are not finite."""
        return any(not bool(one.grad.isfinite().all()) for one in self.parameters if one.grad is not None)
