"""Temporaries, and folders set aside, of processes that replace a file or folder, or were killed while they did."""

import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

__all__ = ["Left", "beside", "left_in", "remove", "restore", "sweep"]

TOKEN = secrets.token_hex(4)  # tells this process from an earlier one with its number
LEFT = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>\d{1,9})-(?P<token>[0-9a-f]{8})-\d+\.(?P<kind>partial|aside)",
    re.DOTALL,
)

_numbers = count()


class Left(NamedTuple):
    """A temporary, or a folder set ``aside``, of a process that replaces ``name``; of another machine's, ``alive``."""

    path: Path
    name: str
    aside: bool
    alive: bool


def left_in(directory: Path, name: str | None = None) -> Iterator[Left]:
    """All that lies in ``directory``, or what belongs to ``name`` there."""
    with suppress(OSError):
        for entry in os.listdir(directory):
            found = LEFT.fullmatch(entry)
            if found and name in (None, found["name"]):
                alive = found["host"] != _host() or _alive(int(found["process"]), found["token"])
                yield Left(directory / entry, found["name"], found["kind"] == "aside", alive)


def beside(path: Path, kind: str) -> Path:
    """A new name beside ``path`` of ``kind`` ``partial``, worth nothing, or ``aside``; it names this process."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{TOKEN}-{next(_numbers)}.{kind}")


@cache
def _host() -> str:
    """Where process numbers mean the same: a machine, or a container of it."""
    with suppress(OSError):
        return f"{zlib.crc32(f'{platform.node()} {os.readlink("/proc/self/ns/pid")}'.encode()):08x}"
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _alive(process: int, token: str) -> bool:
    if process == os.getpid():
        return token == TOKEN  # else of an earlier process with this number
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sweep(directory: Path) -> None:
    """Clear away what dead processes of this machine left in ``directory``; a folder that is only aside is put back."""
    dead = [one for one in left_in(directory) if not one.alive]
    for name in {one.name for one in dead if one.aside}:
        if not os.path.lexists(directory / name):
            restore([one for one in dead if one.aside and one.name == name], directory / name)
    for one in dead:
        if not one.aside or os.path.lexists(directory / one.name):
            remove(one.path)


def restore(asides: Iterable[Left], path: Path) -> None:
    """Put the last one that was set aside back; without effect where another process was faster."""
    with suppress(OSError):
        os.rename(max(asides, key=lambda one: one.path.stat().st_ctime_ns).path, path)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
