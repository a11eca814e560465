"""What sets the members of a sweep apart, and the short names of their folders."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from ..launching import Members

__all__ = ["name_members", "varied_keys"]

LONGEST = 80  # characters of a name


def varied_keys(members: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ between members, in the order given."""
    values: dict[str, set[str]] = {}
    for overrides in members:
        for key, value in _given(overrides).items():
            values.setdefault(key, set()).add(value)
    return [key for key, some in values.items() if len(some) > 1]


def name_members(members: Sequence[Sequence[str]]) -> Members:
    """The overrides of each member under a name such as ``beta=4_seed=0``, which more values of a key do not change.

    At most 80 characters that any file system takes; where that left something out, a checksum ends the name.
    """
    keys = varied_keys(members)
    tails = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(tails.values())
    short = {key: tail if counts[tail] == 1 else key for key, tail in tails.items()}
    return {_name(_given(overrides), short): list(overrides) for overrides in members}


def _name(given: dict[str, str], short: dict[str, str]) -> str:
    own = "_".join(f"{name}={given[key]}" for key, name in short.items()) or "run"
    safe = re.sub(r"[^A-Za-z0-9=.+-]+", "_", own)
    if safe == own and len(own) <= LONGEST:
        return own
    return f"{safe[: LONGEST - 9]}_{hashlib.sha256(own.encode()).hexdigest()[:8]}"


def _given(overrides: Sequence[str]) -> dict[str, str]:
    return dict(override.split("=", 1) for override in overrides if "=" in override)
