"""The one exception for mistakes a user can mend, and the checks that many places share."""

import math
import re
from numbers import Integral, Real
from typing import Any

__all__ = [
    "Diverged",
    "Interrupted",
    "UserError",
    "check_choice",
    "check_not_negative",
    "check_positive",
    "check_whole",
    "one_line",
]


class UserError(ValueError):
    """A user's mistake: one line with what came, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class Diverged(UserError):
    """A training whose loss, gradient or parameters are no longer finite."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to end, by SIGINT (``code`` 130) or SIGTERM (143); one line that tells what was saved."""

    def __init__(self, said: str, code: int = 130) -> None:
        super().__init__(said)
        self.code = code


def one_line(error: BaseException, most: int = 250) -> str:
    """What an error of another library says, in one line: tensors, and Pyro's lists of shapes, are cut off."""
    said = re.split(r"Trace Shapes:|Parameter containing|tensor\(", str(error) or type(error).__name__)[0]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)  # colours for a terminal
    line = " ".join(plain.split()).rstrip(" :[({,")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def check_whole(name: str, value: Any, least: int) -> None:
    """UserError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UserError(f"{name}={value!r}: expected a whole number of at least {least}")


def check_positive(name: str, value: Any) -> None:
    """UserError unless ``value`` is a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise UserError(f"{name}={value!r}: expected a finite number above zero")


def check_not_negative(name: str, value: Any) -> None:
    """UserError unless ``value`` is a finite number of at least zero."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
        raise UserError(f"{name}={value!r}: expected a finite number of at least zero")


def check_choice(name: str, value: Any, choices: Any) -> None:
    """UserError unless ``value`` is one of ``choices``, which it lists."""
    if value not in choices:
        raise UserError(f"{name}={value!r}: expected one of {', '.join(choices)}")
