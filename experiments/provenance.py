"""Where a number came from: command, commit, versions, machine."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

__all__ = ["as_markdown", "command_line", "environment"]


def command_line(module: str = "experiments") -> str:
    """The command that runs this again, from the checkout's root."""
    return shlex.join(["uv", "run", "-m", module, *sys.argv[1:]])


def environment(seed: int | list[int]) -> dict[str, str]:
    """What to say beside every number."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    packages = ("torch", "pyro-ppl", "arviz", "xarray", "lightning-fabric")
    return {
        "seed": str(seed),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, GPU: {gpu}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def as_markdown(facts: dict[str, str]) -> str:
    """One line a fact."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _commit() -> str:
    """Short commit of the checkout, with a + where files differ from it."""
    try:
        return _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
