"""One step of SVI as a module: eager Pyro, captured, or captured and compiled."""

import logging
import time
from collections.abc import Callable

import pyro
import torch
from torch import nn

from ppvae.objectives import BetaELBO
from ppvae.svi.batches import unit_interval
from ppvae.svi.capture import capture, compile_graph, unchanged
from ppvae.svi.history import Layout, measured

__all__ = ["Step"]

logger = logging.getLogger(__name__)

REHEARSALS = 8


class Step(nn.Module):
    """Images to the loss to differentiate and the step's measurements.

    Shapes: pixels (image, C, H, W), uint8 in 0..255 or float as the likelihood takes them; weight () → loss (),
    measurements (n,), laid out as ``layout`` says. :meth:`prepare` fixes the batch shape and the way it runs.
    """

    def __init__(self, model: nn.Module, guide: nn.Module, objective: BetaELBO) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.objective = objective
        self.layout: Layout = []
        self.run: Callable = self.eager
        self.execution = "eager"

    def forward(self, pixels: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.run(pixels, weight)

    def eager(self, pixels: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The step through Pyro's handlers."""
        terms = self.objective.measure(self.model, self.guide, unit_interval(pixels))
        loss = self.objective.loss(terms, weight)
        values, self.layout = measured(loss, terms)
        return loss, values

    def prepare(
        self, pixels: torch.Tensor, weight: torch.Tensor, *, compiled: bool, execution: str | None = None
    ) -> None:
        """Rehearse one validated eager step on a batch, then capture and compile for its shape.

        Keeps the faster of the captured and the compiled step (compiled convolutions can lose on a CPU), or the one
        that ``execution`` names. Where the pair cannot be captured the step stays eager and the log says why.
        Parameters, buffers and the random state stay as they were.
        """
        self.run, self.execution = self.eager, "eager"
        with unchanged(self, pixels), pyro.validation_enabled(True), torch.no_grad():
            self.eager(pixels, weight)
        if not compiled or execution == "eager":
            return
        try:
            graph = capture(self.eager, pixels, weight, preserve=self)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            logger.warning("this pair cannot be captured, training runs eagerly: %s", reason)
            return
        ways = {"captured": graph}
        if execution != "captured":
            ways["compiled"] = compile_graph(graph, pixels, weight, preserve=self)
        self.execution = execution or self._fastest(ways, pixels, weight)
        self.run = ways[self.execution]

    def _fastest(self, ways: dict[str, Callable], pixels: torch.Tensor, weight: torch.Tensor) -> str:
        """Name of the way that takes the least time, forward and backward, best of a few interleaved runs."""
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        with unchanged(self, pixels):
            for _ in range(REHEARSALS):
                for name, run in ways.items():
                    start = time.perf_counter()
                    gradients = torch.autograd.grad(run(pixels, weight)[0], parameters, allow_unused=True)
                    float(next(g for g in gradients if g is not None).sum())  # waits for the device
                    seconds[name].append(time.perf_counter() - start)
        best = {name: min(times) for name, times in seconds.items()}
        logger.info("milliseconds a step, forward and backward: %s", {k: round(1e3 * v, 2) for k, v in best.items()})
        return min(best, key=best.get)
