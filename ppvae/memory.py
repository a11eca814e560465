"""How much memory is left, and which errors say that it was not enough."""

import os
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

__all__ = ["available_memory", "check_memory", "is_out_of_memory", "readable_size"]

CONTAINERS = (  # folder, limit and use of a control group
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator of Python's, torch's or a GPU's says that there was not enough."""
    said = isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)
    return said or isinstance(error, MemoryError)


def check_memory(what: str, needed: int) -> None:
    """MemoryError, in one line, where ``needed`` bytes for ``what`` are more than the memory that is left."""
    if needed > (left := available_memory()):
        raise MemoryError(f"{what} needs {readable_size(needed)} of memory, {readable_size(left)} are left")


def available_memory() -> int:
    """Bytes that this process may still take: of the machine, of its container and of its own limit."""
    return max(0, min(_of_machine(), _of_container(), _of_process()))


def readable_size(count: int) -> str:
    """``1.5 GiB`` for a number of bytes."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:.1f} {units[0]}"


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**62


def _of_container() -> int:
    """What Linux's control group leaves, of version 2 or 1; file pages that it can drop count as free."""
    for folder, limit, use in CONTAINERS:
        try:
            lines = (folder / "memory.stat").read_text().splitlines()
            dropped = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
            return int((folder / limit).read_text()) - int((folder / use).read_text()) + dropped
        except (OSError, ValueError, StopIteration):  # "max" is no limit
            continue
    return 2**62


def _of_process() -> int:
    """What a limit of the address space leaves, as batch systems and ``ulimit -v`` set it."""
    if resource is None or (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) == resource.RLIM_INFINITY:
        return 2**62
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return limit
    return limit - pages * resource.getpagesize()
