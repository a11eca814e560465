"""Parts of a trial, each within its own time, so that no failure and no slowness loses what the others found."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import torch

__all__ = ["FAILED", "Found", "Part", "Row", "Unit", "carried_out", "one_line"]

FAILED, MISSING = "failed", "not measured"


class Found(NamedTuple):
    """A number with its unit, beside the number that it is to be read against, if there is one."""

    what: str
    value: float
    unit: str
    reference: float | None = None
    note: str = ""


class Row(NamedTuple):
    """What one part found, or that it found nothing: ``value`` is then empty and ``note`` says why."""

    part: str
    what: str
    value: float | None
    unit: str
    reference: float | None
    ratio: float | None
    note: str

    @property
    def failed(self) -> bool:
        return self.note.startswith(FAILED)


class Unit(NamedTuple):
    """The least that fails alone."""

    what: str
    measure: Callable[[], Iterable[Found]]


class Part(NamedTuple):
    """Units in order of importance; ``share``: of the time, over those of the parts that are still to come."""

    name: str
    about: str
    share: float
    units: Callable[[], Iterable[Unit]]


def carried_out(parts: Sequence[Part], seconds: float, after: Callable[[Part, list[Row]], object]) -> list[Row]:
    """All parts within so many seconds; ``after`` each it is called with the part and all rows so far.

    What one part leaves of its time is for the later ones. A unit that fails, or that its part's time ends, is a row
    that says so.
    """
    rows: list[Row] = []
    end = time.monotonic() + seconds
    for index, part in enumerate(parts):
        start = time.monotonic()
        own = max(0.0, end - start) * part.share / sum(one.share for one in parts[index:])
        rows.extend(_rows(part, start + own, own))
        after(part, rows)
    return rows


def _rows(part: Part, deadline: float, budget: float) -> Iterator[Row]:
    try:
        for unit in part.units():
            left = deadline - time.monotonic()
            if left <= 0:
                yield _nothing(part, unit.what, f"{MISSING}: this part's {budget:.0f} s were over")
                continue
            yield from _measured(part, unit, left)
            _tidied()
    except Exception as error:  # of what lists the units
        yield _nothing(part, "", f"{FAILED}: {one_line(error)}")


def _measured(part: Part, unit: Unit, seconds: float) -> list[Row]:
    rows = []
    try:
        with _limited(seconds):
            for what, value, unit_of, reference, note in unit.measure():
                ratio = value / reference if reference else None
                rows.append(Row(part.name, what, value, unit_of, reference, ratio, note))
    except Exception as error:
        rows.append(_nothing(part, unit.what, f"{FAILED}: {one_line(error)}"))
    return rows


def _nothing(part: Part, what: str, note: str) -> Row:
    return Row(part.name, what, None, "", None, None, note)


def one_line(error: Exception) -> str:
    """The error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {' '.join(lines[0].split())}" if lines else type(error).__name__


def _tidied() -> None:
    """Graphs, garbage and the device's cache are no later unit's."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """TimeoutError inside once so many seconds are over, where the system has such a clock; it waits for a kernel."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within the {seconds:.0f} s that were left")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
