"""What stands where a file should be."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

__all__ = ["NODES", "sparse"]


def sparse(path: Path) -> None:
    """Ten billion bytes that take no room."""
    path.touch()
    os.truncate(path, 10**10)


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{here}/{path.name}")  # the path itself may be too long for a socket's
    os.close(here)


NODES: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a folder": Path.mkdir,
    "10 GB of nothing": sparse,
}
