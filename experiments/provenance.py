"""Where a number came from: command, commit, versions, machine, and what the run took."""

import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from ppvae import __version__

from .own_names import WRITTEN

try:
    import resource
except ImportError:  # not a Unix: the peak of memory is not told there
    resource = None  # type: ignore[assignment]  # where there is no module

__all__ = ["as_markdown", "command_line", "device_name", "environment", "peak_memory"]


def command_line(module: str = "experiments") -> str:
    """The command that runs this again: from the checkout's root or, where this is installed, from anywhere."""
    program = ["uv", "run", "-m", module] if __package__ == WRITTEN else ["ppvae", "train"]
    return shlex.join([*program, *sys.argv[1:]])


def environment(seed: int | list[int]) -> dict[str, str]:
    """What to say beside every number."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    packages = ("torch", "pyro-ppl", "arviz", "xarray", "lightning-fabric")
    return {
        "seed": str(seed),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, GPU: {gpu}",
        "python": platform.python_version(),
        "ppvae": __version__,
        **{package: version(package) for package in packages},
    }


def device_name(accelerator: str) -> str:
    """What a run with this accelerator trains on."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "cpu" if accelerator == "auto" else accelerator


def peak_memory() -> dict[str, float]:
    """The most that this process held at a time, in GB: of the machine's memory and, where it used it, the GPU's."""
    held = {}
    if resource is not None:
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        held["peak_memory_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        held["peak_gpu_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
    return held


def as_markdown(facts: dict[str, str]) -> str:
    """One line a fact."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


@cache
def _commit() -> str:
    """Short commit of the checkout, with a + where files differ from it; of none that an installation lies in."""
    try:
        _git("ls-files", "--error-unmatch", __file__)
        return _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
