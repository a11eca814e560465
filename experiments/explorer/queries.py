"""What a page asks of the server, read as what anybody may have written."""

import json
from collections.abc import Mapping
from typing import Any

from ppvae.errors import UserError

from .explorer import Setting

__all__ = ["number_of", "read_setting"]

KEYS = ("image", "moved", "chosen", "kept", "temperature", "seed")
LONGEST = 20_000  # characters of a setting
FARTHEST = 1e6  # that a slider is moved
SEEDS = 2**63


def read_setting(text: str) -> Setting:
    """A setting of a JSON object; whether there are such images, sites and levels, the explorer says.

    Errors: :class:`~ppvae.UserError` for what is no setting: other keys, or what are no numbers.
    """
    try:
        read = json.loads(text) if len(text) <= LONGEST else None
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise UserError(f"setting={text[:40]!r}: expected a JSON object of {', '.join(KEYS)}")
    other = [key for key in read if key not in KEYS]
    if other:
        raise UserError(f"setting has {other[0][:40]!r}: expected {', '.join(KEYS)}")
    moved = {site: _moves(site, moves) for site, moves in _object("moved", read.get("moved", {})).items()}
    levels = _object("chosen", read.get("chosen", {}))
    kept = None if read.get("kept") is None else _whole("kept", read["kept"])
    return Setting(
        image=_whole("image", read.get("image", 0)),
        moved={site: moves for site, moves in moved.items() if moves},
        chosen={name: _whole(f"chosen {name}", level) for name, level in levels.items()},
        kept=kept,
        temperature=_finite("temperature", read.get("temperature", 1.0)),
        seed=_whole("seed", read.get("seed", 0)),
    )


def number_of(name: str, text: str, least: int, most: int) -> int:
    """A whole number of a query, from ``least`` to ``most``; UserError for another."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= number <= most:
        raise UserError(f"{name}={text[:40]!r}: expected a whole number from {least} to {most}")
    return number


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{name}={_said(value)}: expected a JSON object")
    return value


def _moves(site: str, moves: Any) -> dict[int, float]:
    values = _object(f"moved {site}", moves)
    return {number_of(f"axis of {site}", key, 0, 10**8): _finite(f"{site}[{key}]", v) for key, v in values.items()}


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEEDS:
        raise UserError(f"{name}={_said(value)}: expected a whole number from 0")
    return value


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:
        raise UserError(f"{name}={_said(value)}: expected a number between ±{FARTHEST:g}")
    return float(value)


def _said(value: Any) -> str:
    return repr(value)[:40]
