"""Files that anybody may have made: only ordinary ones are opened."""

import os
import stat
from os import PathLike
from typing import BinaryIO

from ppvae.memory import readable_size

__all__ = ["open_ordinary"]

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_ordinary(path: str | PathLike[str], most: int | None = None) -> BinaryIO:
    """Open a file of at most ``most`` bytes to read it, without waiting for whoever holds the other end of a FIFO.

    Errors: :class:`OSError`, in one line, for what is no ordinary file, for a longer one, and as ``open`` does.
    """
    _check(os.stat(path), most)  # before it is opened, which some devices notice
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(descriptor), most)  # what was opened, should the path have changed hands
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(status: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"it is {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, expected an ordinary file")
    if most is not None and status.st_size > most:
        raise OSError(f"it has {readable_size(status.st_size)}, expected at most {readable_size(most)}")
