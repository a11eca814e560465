"""Files and folders that are either whole or not there, and folders that one run has for itself."""

import errno
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ppvae.errors import UserError
from ppvae.leftovers import beside, left_in, remove, restore, sweep

try:
    import fcntl
except ImportError:  # not a Unix: folders are not locked there
    fcntl = None

__all__ = ["claimed", "explained", "locked", "replace_atomically", "settled"]

LOCK = ".lock"  # holds the process and host that write into the folder
MISTAKES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your quota of the disk is used up; free some space",
    errno.EFBIG: "the file is larger than allowed here; raise the limit (ulimit -f), or give another path",
    errno.EROFS: "the file system is read-only; give another path",
    errno.EACCES: "permission is denied; change the rights, or give another path",
    errno.EPERM: "permission is denied; change the rights, or give another path",
    errno.ENOTDIR: "a part of the path is a file; give another path",
    errno.EEXIST: "a part of the path is a file; give another path",
    errno.EISDIR: "a folder is in its place; give another path",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
    errno.ELOOP: "its links go round in a circle; give another path",
}
AWAY = 8  # looks in a row, 20 ms apart, that find nothing
WAITS = 500  # times 2 ms: renaming takes microseconds

_held: dict[Path, list[int]] = {}  # by folder: the lock's file descriptor, and how often this process entered
_guard = threading.RLock()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What a user can mend of the operating system's errors, as one-line ``UserError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in MISTAKES:
            raise
        raise UserError(f"{path} cannot be written: {MISTAKES[error.errno]}") from None


def claimed(directory: Path) -> Path:
    """Make a new folder that no other process makes too: ``directory``, or with ``_2``, ``_3``, … where it exists.

    Errors: :class:`~ppvae.errors.UserError` where no folder can be made there.
    """
    directory = Path(directory)
    if directory.name in ("", ".."):
        directory = directory.resolve()
    with explained(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        path, number = directory, 1
        while True:
            try:
                path.mkdir()
                return path
            except FileExistsError:
                number += 1
                path = directory.with_name(f"{directory.name}_{number}")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of ``directory``, which is made where it is missing.

    The kernel lets go of it when this process ends, however it ends. This process may enter again, in any thread. On
    systems and disks without locks there is none.
    Errors: :class:`~ppvae.errors.UserError` while another process is inside; it names the process.
    """
    directory = Path(directory)
    if fcntl is None:
        yield
        return
    with explained(directory):
        directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    with _guard:
        if directory not in _held:
            _held[directory] = [_lock(directory), 0]
        _held[directory][1] += 1
    try:
        yield
    finally:
        with _guard:
            held = _held.get(directory)
            if held is not None:  # else in a child of the process that holds it
                held[1] -= 1
                if not held[1]:
                    del _held[directory]
                    _unlock(directory, held[0])


def _lock(directory: Path) -> int:
    """The descriptor of the folder's locked file, or -1 where the disk has no locks."""
    path = directory / LOCK
    while True:
        with explained(directory):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise UserError(
                f"{directory} is being written by {holder or 'another process'}; "
                "wait until it ends, or give another folder"
            ) from None
        except OSError:
            os.close(descriptor)
            return -1
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):  # else its last holder removed it
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                return descriptor
        os.close(descriptor)


def _unlock(directory: Path, descriptor: int) -> None:
    if descriptor >= 0:
        with suppress(OSError):
            (directory / LOCK).unlink()
        os.close(descriptor)


def _forget() -> None:
    """A child of this process holds nothing, and does not keep what its parent holds locked."""
    global _guard
    _guard = threading.RLock()
    for descriptor, _ in _held.values():
        if descriptor >= 0:
            os.close(descriptor)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_forget)


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file or folder beside ``path``, then put it in its place by renaming.

    A kill at any moment leaves the old one or the new one; what :func:`settled` says of the old one holds of a folder.
    What killed processes of this machine left beside ``path`` is cleared away.
    Errors: :class:`~ppvae.errors.UserError` for a full disk, missing rights and the like; the old one stays.
    """
    path = Path(path)
    with explained(path):
        if path.is_symlink() and path.is_dir():
            path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary = beside(path, "partial")
        try:
            write(temporary)
            _exchange(temporary, path) if temporary.is_dir() else os.replace(temporary, path)
        finally:
            _clear(temporary)


def settled(path: Path) -> bool:
    """Whether ``path`` is there, once nobody is replacing it.

    Two renames replace a folder; between them it is set aside. This waits for the second one, and undoes the first
    where its process was killed.
    """
    for attempt in range(WAITS):
        if os.path.lexists(path):
            return True
        left = [one for one in left_in(path.parent, path.name) if one.aside or one.alive]
        asides = [one for one in left if one.aside]
        if not left and attempt >= 3:
            break
        if asides and (attempt == WAITS - 1 or not any(one.alive for one in asides)):
            restore(asides, path)
        else:
            time.sleep(0.002)
    return os.path.lexists(path)


def _clear(temporary: Path) -> None:
    """Remove what was not put in its place; for as long as threads of a writer that failed still add files."""
    away = 0 if temporary.is_dir() else AWAY
    remove(temporary)
    for _ in range(WAITS):
        if away == AWAY:
            return
        time.sleep(0.02)
        away = 0 if temporary.exists() else away + 1
        remove(temporary)


def _exchange(new: Path, path: Path) -> None:
    """Put the folder ``new`` in the place of ``path``, whoever else does so at the same time."""
    if path.is_file():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    placed = False
    while not placed:
        aside = beside(path, "aside")
        try:
            with suppress(FileNotFoundError):
                os.rename(path, aside)
            placed = _renamed(new, path)
        finally:
            if not placed and not os.path.lexists(path):
                with suppress(OSError):
                    os.rename(aside, path)
            if aside.is_dir():
                _discard(aside, path)


def _renamed(new: Path, path: Path) -> bool:
    """Whether it could be: not where another process has just put a folder of its own."""
    try:
        os.rename(new, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _discard(aside: Path, path: Path) -> None:
    """Under a name from which nobody restores it: half of it may be gone when this process is killed."""
    removed = beside(path, "partial")
    with suppress(OSError):
        os.rename(aside, removed)
    remove(removed)
