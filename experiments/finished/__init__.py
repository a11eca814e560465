"""A finished run in one line: its pair and its numbers, read from its folder, to encode, draw and score by."""

from .run import FinishedRun, load

__all__ = ["FinishedRun", "load"]
