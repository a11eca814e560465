"""SIGINT and SIGTERM during a training: the step is finished and saved before the run ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

__all__ = ["Asked", "asked_to_end", "held_back", "let_through"]

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Asked:
    """Whether the run was asked to end: ``code`` is then what its process ends with, else zero.

    ``told``: a tensor () that holds it, which processes may share.
    """

    def __init__(self) -> None:
        self.told = torch.zeros((), dtype=torch.int32)

    @property
    def code(self) -> int:
        return int(self.told)

    def note(self, code: int) -> None:
        """Asked to end with this exit code."""
        self.told.fill_(code)

    def share(self, told: torch.Tensor) -> None:
        """Hear what other processes are asked, and let them know what this one is."""
        told.fill_(max(self.code, int(told)))
        self.told = told


_listening: list[Asked] = []


@contextmanager
def asked_to_end() -> Iterator[Asked]:
    """Note the first signal instead of acting on it; a second one of the same kind acts as before.

    Only the main thread hears signals: in another one they act as before. One such block inside another is the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Asked()
        return
    if _listening:
        yield _listening[-1]
        return
    asked = Asked()

    def note(number: int, _frame: FrameType | None) -> None:
        asked.note(CODES[signal.Signals(number)])
        signal.signal(number, before[number])

    before = {number: signal.getsignal(number) for number in CODES}
    before = {number: handler for number, handler in before.items() if handler is not None}  # None: not Python's
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup and shells' background jobs ask not to be disturbed
            signal.signal(number, note)
    _listening.append(asked)
    try:
        yield asked
    finally:
        _listening.remove(asked)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Inside, signals wait; those to a process that is started inside do until it lets them through."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """End what :func:`held_back` began in the process that started this one."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)
