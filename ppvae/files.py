"""Files and folders that are either whole or not there, and folders that one run has for itself."""

import errno
import os
import platform
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ppvae.errors import UserError

try:
    import fcntl
except ImportError:  # not a Unix: folders are not locked there
    fcntl = None

__all__ = ["claimed", "explained", "locked", "replace_atomically"]

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
    """Let ``write`` fill a temporary file or folder beside ``path``, then put it in its place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
