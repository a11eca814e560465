"""Files that anybody may have made: only ordinary ones are opened, and only what the memory holds is read."""

import os
import stat
from os import PathLike
from pathlib import Path
from typing import BinaryIO

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

__all__ = ["available_memory", "check_memory", "open_ordinary", "readable_size"]

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_ordinary(path: str | PathLike[str], most: int | None = None) -> BinaryIO:
    """Open a file of at most `most` bytes to read it, without waiting for whoever holds the other end of a FIFO.

    Raises OSError, in one line, for what is no ordinary file, for a longer one, and as `open` does.
    """
    _check(os.stat(path), most)  # before it is opened, which some devices notice
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check(os.fstat(descriptor), most)  # what was opened, should the path have changed hands
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_memory(what: str, needed: int) -> None:
    """MemoryError, in one line, where `needed` bytes for `what` are more than the memory that is left."""
    if needed > (left := available_memory()):
        raise MemoryError(f"{what} needs {readable_size(needed)} of memory, {readable_size(left)} are left")


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its container and of its own limit."""
    return max(0, min(_of_machine(), _of_container(), _of_process()))


def readable_size(count: int) -> str:
    """`1.5 GiB` for a number of bytes."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:.1f} {units[0]}"


def _check(status: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"it is {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, expected an ordinary file")
    if most is not None and status.st_size > most:
        raise OSError(f"it has {readable_size(status.st_size)}, expected at most {readable_size(most)}")


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**62


def _of_container() -> int:
    """What Linux's control group leaves; file pages that it can drop count as free."""
    folder = Path("/sys/fs/cgroup")
    try:
        most, used = ((folder / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        if most == "max":
            return 2**62
        lines = (folder / "memory.stat").read_text().splitlines()
        dropped = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return int(most) - int(used) + dropped
    except (OSError, ValueError, StopIteration):
        return 2**62


def _of_process() -> int:
    """What a limit of the address space leaves, as batch systems and `ulimit -v` set it."""
    if resource is None or (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) == resource.RLIM_INFINITY:
        return 2**62
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return limit
    return limit - pages * resource.getpagesize()
