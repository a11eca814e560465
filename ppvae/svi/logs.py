"""Logs of a run: CSV and TensorBoard."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ppvae.svi.history import History

__all__ = ["Logs"]


class Logs:
    """Writes ``history.csv`` and TensorBoard's events into ``directory``, after each epoch; nothing without one."""

    def __init__(self, directory: Path | None, epochs_done: int) -> None:
        self.directory = directory
        self.events: Any = None
        if directory is not None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and only needed here

            self.events = SummaryWriter(str(directory / "tensorboard"), purge_step=epochs_done + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self.events is not None:
            self.events.close()

    def write(self, history: History) -> None:
        if self.directory is None:
            return
        history.write_csv(self.directory / "history.csv")
        for name, rows in history.rows.items():
            if not history.dims[name]:
                self.events.add_scalar(name, rows[-1], len(history))
            elif len(history.dims[name]) == 1:
                for index, value in enumerate(rows[-1]):
                    self.events.add_scalar(f"{name}/{index}", value, len(history))
