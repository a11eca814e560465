"""SIGINT and SIGTERM end a run in one way: by :class:`~ppvae.errors.Interrupted`, from the first import on."""

import signal
from types import FrameType

from ppvae.errors import Interrupted

__all__ = ["ignore_signals", "obey_signals"]

ENDING = (signal.SIGINT, signal.SIGTERM)


def obey_signals() -> None:
    """Raise ``Interrupted`` at either signal; one that is ignored, as SIGINT is by ``nohup … &``, stays so."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def ignore_signals() -> None:
    """What was to be saved is saved and told: a second signal would only add a traceback."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # the interpreter calls it
    raise Interrupted("interrupted", 128 + number)
