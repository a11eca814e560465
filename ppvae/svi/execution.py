"""Which way a step runs: captured and compiled are timed against each other once, and the outcome is remembered."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from torch import fx, nn

from ppvae.errors import UserError
from ppvae.files import replace_atomically
from ppvae.svi.compilation import compile_graph
from ppvae.svi.rehearsal import unchanged

__all__ = ["Execution", "Pace", "Wish", "expected_compile_seconds", "faster", "remembered"]

Execution = Literal["eager", "captured", "compiled"]
Wish = Literal["auto", "eager", "captured", "compiled"]
ROUNDS = 7  # of one step each, in turn, so that a busy machine hits both ways alike
PATIENCE = 300.0  # seconds that a compilation may be expected to take
HOPE = 0.25  # of a captured step's time, which a compiled one might save: 17 % of an MLP's were measured


@dataclass(frozen=True)
class Pace:
    """Seconds of a captured and of a compiled step, and of the compilation."""

    captured: float
    compiled: float
    compilation: float

    def repays(self, steps: int) -> bool:
        """Whether ``steps`` compiled steps win back their compilation."""
        return steps * (self.captured - self.compiled) > self.compilation


def faster(graph_module: fx.GraphModule, *inputs: torch.Tensor, preserve: nn.Module, steps: int) -> Callable | None:
    """The graph compiled, where ``steps`` steps of it take less time than of the graph as it is; else None.

    The first time on a machine a compilation is tried only where the run is long enough to repay it, and timed; later
    runs of the same graph go by what was found then. Eager Pyro is no candidate: the graph is its operations, less
    those that repeat. Parameters, buffers and random states stay as they were.
    """
    key = fingerprint(graph_module, *inputs)
    known = remembered().get(key)
    if known is None:
        pace = min(_seconds(graph_module, inputs, preserve) for _ in range(3))
        if not _worth_trying(graph_module, inputs[0].device, pace * steps):
            return None
    elif not known.repays(steps):
        return None
    start = time.perf_counter()
    compiled = compile_graph(graph_module, *inputs, preserve=preserve)
    if compiled is None or known is not None:
        return compiled
    compilation = time.perf_counter() - start
    rounds = [[_seconds(run, inputs, preserve) for run in (graph_module, compiled)] for _ in range(ROUNDS)]
    pace = Pace(*(median(column) for column in zip(*rounds, strict=True)), compilation)
    _remember(key, pace)
    return compiled if pace.compiled < pace.captured else None


def expected_compile_seconds(graph_module: fx.GraphModule, device: torch.device) -> float:
    """A guess on the high side, from the number of operations n: n²/700 on a CPU, n/5 on a GPU.

    Measured on two CPU cores: 53 s for 250 operations, more than 290 s for 450.
    """
    operations = sum(node.op == "call_function" for node in graph_module.graph.nodes)
    return operations**2 / 700 if device.type == "cpu" else operations / 5


def _worth_trying(graph_module: fx.GraphModule, device: torch.device, seconds: float) -> bool:
    expected = expected_compile_seconds(graph_module, device)
    return expected < min(PATIENCE, HOPE * seconds)


def _seconds(run: Callable, inputs: tuple[torch.Tensor, ...], module: nn.Module) -> float:
    """One step forwards and backwards."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with unchanged(module, *inputs):
        _wait(inputs[0].device)
        start = time.perf_counter()
        torch.autograd.grad(run(*inputs)[0], parameters, allow_unused=True)
        _wait(inputs[0].device)
        return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fingerprint(graph_module: fx.GraphModule, *inputs: torch.Tensor) -> str:
    """The same for equal operations on equal shapes, on machines of one kind, with the same torch and threads."""
    digest = hashlib.sha256()
    for node in graph_module.graph.nodes:
        value = getattr(graph_module, node.target) if node.op == "get_attr" else node.meta.get("val")
        shape = (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else None
        digest.update(f"{node.op} {'' if node.op == 'get_attr' else node.target} {shape};".encode())
    device = inputs[0].device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    digest.update(f"{name} {os.cpu_count()} {torch.get_num_threads()} {torch.__version__}".encode())
    return digest.hexdigest()[:32]


def _file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ppvae" / "execution.json"


def remembered() -> dict[str, Pace]:
    """What was timed on machines that share this user's cache folder; nothing where the file cannot be read."""
    try:
        return {key: Pace(**entry) for key, entry in json.loads(_file().read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError):
        return {}


def _remember(key: str, pace: Pace) -> None:
    known = {**remembered(), key: pace}
    content = json.dumps({name: asdict(one) for name, one in known.items()}, indent=1)
    try:
        replace_atomically(_file(), lambda path: path.write_text(content))
    except (OSError, RuntimeError, UserError):
        return  # no home, no room, no right: the next run times anew
