"""The record of a run, ``run.json`` in its folder: what was asked, with what, where, and what became of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ppvae.errors import UserError
from ppvae.files import replace_atomically

from .endings import line_of
from .provenance import command_line, device_name, environment, peak_memory

__all__ = ["read_record", "recorded"]

RECORD = "run.json"


@contextmanager
def recorded(configuration: DictConfig, directory: Path) -> Iterator[None]:
    """Write ``run.json`` now, and complete it at the end; a resumed run's earlier parts stay, under ``before``.

    ``state``: running (or killed), finished, interrupted, or failed, then with the ``error``.
    """
    record = _begun(configuration, directory)
    start = time.monotonic()
    _write(record, directory)
    try:
        yield
    except BaseException as error:
        line = line_of(error) if isinstance(error, Exception) else None
        ending = {"state": "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"}
        _end(record, directory, start, ending | {"error": line or f"{type(error).__name__}: {error}"})
        raise
    _end(record, directory, start, {"state": "finished"})


def read_record(directory: Path) -> dict[str, Any]:
    """The record of the run in ``directory``; empty where there is none, as of a run that was made before records."""
    path = directory / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); remove it, or give another run") from None
    return record if isinstance(record, dict) else {}


def _begun(configuration: DictConfig, directory: Path) -> dict[str, Any]:
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    earlier = read_record(directory)
    before = [*earlier.pop("before", []), earlier] if earlier else []
    return {
        "command": command_line(),
        "configuration": hydra.job.config_name if hydra else None,
        "overrides": list(hydra.overrides.task) if hydra else [],
        "job": configuration.job,
        **environment(configuration.seed),
        "device": device_name(str(configuration.trainer.accelerator)),
        "start": _now(),
        "state": "running",
        **({"before": before} if before else {}),
    }


def _end(record: dict[str, Any], directory: Path, start: float, ending: dict[str, Any]) -> None:
    if directory.is_dir():  # not the withdrawn folder of a mistake
        taken = {"end": _now(), "wall_seconds": round(time.monotonic() - start, 3), **peak_memory()}
        _write(record | taken | ending, directory)


def _write(record: dict[str, Any], directory: Path) -> None:
    replace_atomically(directory / RECORD, lambda path: path.write_text(json.dumps(record, indent=1)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
