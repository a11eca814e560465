"""SIGINT and SIGTERM during a training: the step is finished and saved before the run ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Asked", "asked_to_end"]

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Asked:
    """Whether the run was asked to end: ``code`` is then what its process ends with."""

    def __init__(self) -> None:
        self.code: int | None = None


@contextmanager
def asked_to_end() -> Iterator[Asked]:
    """Note the first signal instead of acting on it; a second one of the same kind acts as before.

    Only the main thread hears signals: in another one they act as before.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, _frame: FrameType | None) -> None:
        asked.code = CODES[signal.Signals(number)]
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in CODES}
    before = {number: handler for number, handler in before.items() if handler is not None}  # None: not Python's
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup and shells' background jobs ask not to be disturbed
            signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
