"""One step of SVI as a module: eager Pyro, captured, or captured and compiled."""

import logging
from collections.abc import Callable
from typing import Literal

import pyro
import torch
from torch import nn

from ppvae.datasets.conversion import Conversion
from ppvae.objectives import Objective
from ppvae.svi.capture import capture, compile_graph, unchanged
from ppvae.svi.history import Layout, measured

__all__ = ["Execution", "Step", "usual_execution"]

logger = logging.getLogger(__name__)

Execution = Literal["eager", "captured", "compiled"]


class Step(nn.Module):
    """Images to the loss to differentiate and the step's measurements.

    Shapes: pixels (image, C, H, W), uint8 in 0..255 for ``conversion``, or floats as the likelihood takes them;
    numbers, those of the objective's step → loss (), measurements (n,), laid out as ``layout`` says. :meth:`prepare`
    fixes the batch shape and the way it runs.
    """

    def __init__(
        self, model: nn.Module, guide: nn.Module, objective: Objective, conversion: Conversion | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.objective = objective
        self.objective_state = objective.state  # a submodule where there is one, so that its buffers follow the device
        self.conversion = conversion or Conversion()
        self.layout: Layout = []
        self._run_by("eager", self.eager)

    def forward(self, pixels: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.run(pixels, numbers)

    def eager(self, pixels: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The step through Pyro's handlers."""
        loss, terms = self.objective.evaluate(self.model, self.guide, self.conversion(pixels), numbers)
        values, self.layout = measured(loss, terms, self.objective.reported(numbers))
        return loss, values

    def prepare(self, pixels: torch.Tensor, numbers: torch.Tensor, *, execution: Execution | None = None) -> None:
        """Rehearse one validated eager step on a batch, then capture and compile for its shape.

        ``execution`` says how the step is to run, by default :func:`usual_execution`. Where that is not possible the
        step runs the next simpler way and the log says why. Parameters, buffers and the random state stay as they were.
        """
        wanted = execution or usual_execution(self, pixels.device)
        self._run_by("eager", self.eager)
        with unchanged(self, pixels), pyro.validation_enabled(True), torch.no_grad():
            self.eager(pixels, numbers)
        if wanted == "eager":
            return
        try:
            graph = capture(self.eager, pixels, numbers, preserve=self)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            logger.warning("this pair cannot be captured, training runs eagerly: %s", reason)
            return
        self._run_by("captured", graph)
        compiled = compile_graph(graph, pixels, numbers, preserve=self) if wanted == "compiled" else None
        if compiled is not None:
            self._run_by("compiled", compiled)

    def _run_by(self, execution: Execution, run: Callable) -> None:
        self.execution = execution
        self.__dict__["run"] = run  # not a submodule: a graph's parameters are this module's own


def usual_execution(step: nn.Module, device: torch.device) -> Execution:
    """``compiled``, but ``captured`` for convolutions on a CPU, where the compiled step is slower (measured)."""
    convolutions = any(isinstance(module, nn.modules.conv._ConvNd) for module in step.modules())
    return "captured" if convolutions and device.type == "cpu" else "compiled"
