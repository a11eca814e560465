"""One step of SVI as a module: eager Pyro, captured, or captured and compiled."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pyro
import torch
from torch import fx, nn

from ppvae.datasets.conversion import Conversion
from ppvae.errors import UserError
from ppvae.objectives import Objective
from ppvae.pair import spread
from ppvae.svi.agreement import BF16, COARSE, agree
from ppvae.svi.capture import capture
from ppvae.svi.compilation import compile_graph
from ppvae.svi.enlargement import Inputs, Recorded, enlarged, few_of
from ppvae.svi.execution import Execution, Wish, faster
from ppvae.svi.history import Layout, measured
from ppvae.svi.precision import in_bf16, networks_of
from ppvae.svi.recipe import Precision, Recompute
from ppvae.svi.rehearsal import unchanged
from ppvae.svi.segments import Segmented, segmented

__all__ = ["Step"]

logger = logging.getLogger(__name__)


class Step(nn.Module):
    """Images, and what is given with them, to the loss to differentiate and the step's measurements.

    Shapes: pixels (image, C, H, W), uint8 in 0..255 for ``conversion``, or floats as the likelihood takes them; then
    what else the programs take, (image, ...) each, and last the numbers, those of the objective's step → loss (),
    measurements (n,), laid out as ``layout`` says. :meth:`prepare` fixes the batch shape and the way it runs.
    ``population``: images of the data set, over which the KL of a site that all of them share is spread.
    ``precision``, ``flip``, ``recompute`` and ``memory_budget`` are those of a :class:`~ppvae.svi.Recipe`.
    """

    run: Callable[..., tuple[torch.Tensor, torch.Tensor]]  # the way that is in use

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        objective: Objective,
        conversion: Conversion | None = None,
        *,
        population: int | None = None,
        precision: Precision = "full",
        flip: bool = False,
        recompute: Recompute = None,
        memory_budget: float | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.objective = objective
        self.objective_state = objective.state  # a submodule where there is one, so that its buffers follow the device
        self.conversion = conversion or Conversion()
        self.population = population
        self.precision = precision
        self.flip = flip
        self.recompute = None if recompute in (0, 1) else recompute  # one segment, the last, keeps all
        self.memory_budget = memory_budget
        self.layout: Layout = []
        self.__dict__["networks"] = []  # what runs in bf16, found in the rehearsal; no submodules anew
        self._run_by("eager", self.eager)

    def forward(self, pixels: torch.Tensor, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.run(pixels, *given)

    def eager(self, pixels: torch.Tensor, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The step through Pyro's handlers; the last of ``given`` are the objective's numbers."""
        seen = _mirrored(pixels, given[:-1]) if self.flip else pixels
        data, numbers = (self.conversion(seen), *given[:-1]), given[-1]
        with spread(len(pixels), self.population or len(pixels)), self._narrowed(pixels.device):
            loss, terms = self.objective.evaluate(self.model, self.guide, data, numbers)
        values, self.layout = measured(loss, terms, self.objective.reported(numbers))
        return loss, values

    @property
    def measuring(self) -> nn.Module:
        """A pass of the pair as in training, without gradients, for what only passes update: BatchNorm's statistics."""
        return _Measuring(self)

    def _narrowed(self, device: torch.device) -> AbstractContextManager:
        return in_bf16(self.__dict__["networks"], device) if self.precision == "bf16" else nullcontext()

    def prepare(
        self,
        pixels: torch.Tensor,
        *given: torch.Tensor,
        execution: Wish = "captured",
        steps: int = 0,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Rehearse one validated eager step on a batch, then capture and compile for its shape.

        ``execution`` says how the step is to run; "auto" is "compiled" where that is worth it for ``steps`` steps or
        there is a ``memory_budget``, else "captured", as ``recompute`` alone needs. Where a way is not possible the
        step runs the next simpler one and the log says why. ``tell`` hears what is going on. Parameters, buffers,
        random states and the programs' attributes stay as they were.
        """
        self._run_by("eager", self.eager)
        with unchanged(self, pixels), pyro.validation_enabled(True), torch.no_grad():
            self.eager(pixels, *given)
            layout = self.layout
            networks = networks_of(self, lambda: self.eager(pixels, *given)) if self.precision == "bf16" else []
        self.layout = layout  # all else that the rehearsal left behind is gone
        self.__dict__["networks"] = networks
        found = None if execution == "eager" else self._recorded((pixels, *given), tell)
        if found is None:
            self._warn_of_idle("eagerly")
            return
        self._run_by("captured", found.graph)
        compiled = self._compiled(found, (pixels, *given), execution, steps, tell)
        if compiled is not None:
            self._run_by("compiled", compiled)
        elif self.recompute:
            tell("cutting the step")
            self._run_by("captured", self._cut(found))
        else:
            self._warn_of_idle("uncompiled")

    def _recorded(self, inputs: Inputs, tell: Callable[[str], object]) -> Recorded | None:
        """The graph of a step; None, with the reason logged, where there is none."""
        try:
            found = self._enlarged(inputs, tell) if self.recompute or self.memory_budget else None
            if found is not None:
                return found
            graph = self._captured(*inputs, tell=tell)
        except Exception as error:
            logger.warning("this pair cannot be captured, training runs eagerly: %s", _reason(error))
            return None
        return Recorded(graph, graph, inputs)

    def _enlarged(self, inputs: Inputs, tell: Callable[[str], object]) -> Recorded | None:
        """The graph of a step that is compared with the eager one on few images, as that takes less memory."""
        few = few_of(*inputs)
        if len(few[0]) == len(inputs[0]):
            return None
        try:
            graph = self._captured(*few, tell=tell)
            tell("recording the whole batch")
            whole = enlarged(graph, self.eager, few, inputs, preserve=self, rounding=self._rounding)
        except Exception as error:
            logger.info("the step is compared with the eager one on all images of a batch, not few: %s", _reason(error))
            return None
        return Recorded(whole, graph, few, len(inputs[0]) / len(few[0]))

    def _compiled(
        self, found: Recorded, inputs: Inputs, execution: Wish, steps: int, tell: Callable[[str], object]
    ) -> Callable | None:
        """The graph compiled, where that is wished for and possible."""
        if self.memory_budget is not None and execution in ("auto", "compiled"):
            tell("compiling the step")
            return self._within_budget(found, inputs)
        if self.recompute:
            if execution == "compiled":
                logger.warning("recompute needs the captured step as it is: nothing is compiled without memory_budget")
            return None
        tell("compiling the step" if execution == "compiled" else "timing the step")
        if execution == "compiled":
            return compile_graph(found.graph, *inputs, preserve=self)
        return faster(found.graph, *inputs, preserve=self, steps=steps) if execution == "auto" else None

    def _within_budget(self, found: Recorded, inputs: Inputs) -> Callable | None:
        """The graph compiled, once it has been compared with its segments, which take no more memory."""
        compiled = compile_graph(found.graph, *inputs, preserve=self, memory_budget=self.memory_budget)
        if compiled is None:
            return None
        try:
            reference: Callable = self._segments(found, "auto")
        except Exception as error:
            logger.debug("compared with the whole graph: %s", error)
            reference = found.graph
        if agree(
            compiled, reference, *inputs, preserve=self, rounding=BF16
        ):  # noise drawn anew is as far off as can be
            return compiled
        logger.warning("compiled within memory_budget, gradients differ from the captured step's, which runs instead")
        return None

    def _segments(self, found: Recorded, count: Recompute) -> Segmented:
        if count == "auto":
            count = math.isqrt(sum(node.op == "call_function" for node in found.graph.graph.nodes))
        return segmented(found, count, preserve=self, rounding=self._rounding)

    def _cut(self, found: Recorded) -> Callable:
        """The graph in segments; as it is, with the reason logged, where that fails."""
        try:
            return self._segments(found, self.recompute)
        except Exception as error:
            logger.warning("recompute has no effect, as this step cannot be cut: %s", _reason(error))
            return found.graph

    @property
    def _rounding(self) -> tuple[float, float]:
        return BF16 if self.precision == "bf16" else COARSE

    def _warn_of_idle(self, how: str) -> None:
        names = [name for name in ("recompute", "memory_budget") if getattr(self, name)]
        if names:
            logger.warning("%s has no effect on a step that runs %s", " and ".join(names), how)

    def _captured(self, *inputs: torch.Tensor, tell: Callable[[str], object]) -> fx.GraphModule:
        """The graph of a step; in bf16 once that of full precision has been compared."""
        options = {"preserve": self, "later": self._take_a_step, "tell": tell}
        if self.precision == "full":
            return capture(self.eager, *inputs, **options)
        self.precision = "full"
        try:
            capture(self.eager, *inputs, **options)
        finally:
            self.precision = "bf16"
        return capture(self.eager, *inputs, **options, rounding=BF16)

    def _take_a_step(self) -> None:
        """What Python does between two steps: the objective's numbers are asked for."""
        self.objective.numbers(1)

    def _run_by(self, execution: Execution, run: Callable) -> None:
        self.execution = execution
        self.__dict__["run"] = run  # not a submodule: a graph's parameters are this module's own


def _mirrored(pixels: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Each image left to right with probability ½; UserError where another image of it comes with each."""
    if any(values.dim() == pixels.dim() for values in given):
        raise UserError("flip mirrors the images and not the images given with them; give recipe.flip=false")
    turned = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
    return torch.where(turned, pixels.flip(-1), pixels)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class _Measuring(nn.Module):
    """Takes a batch as the step does; its modules are the step's own."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.model, self.guide = step.model, step.guide
        self.objective, self.conversion = step.objective, step.conversion

    def forward(self, batch: tuple[torch.Tensor, ...]) -> None:
        pixels, *given = batch
        self.objective.measure(self.model, self.guide, (self.conversion(pixels), *given))
