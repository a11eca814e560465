"""Files inside a .zip archive, by a path that goes through it: ``shells.zip/cone/1.png``."""

import os
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO

from ppvae.datasets.tarred import is_member, read_member
from ppvae.errors import UserError, one_line
from ppvae.memory import readable_size
from ppvae.ordinary import open_ordinary

__all__ = ["members_of", "open_picture_file"]

LARGEST = 2**30  # bytes of a member, unpacked


def members_of(path: Path) -> list[str]:
    """Names of the files in an archive, in alphabetical order.

    Errors: :class:`~ppvae.errors.UserError` for a file that is no .zip archive.
    """
    try:
        with open_ordinary(path) as file, zipfile.ZipFile(file) as archive:
            return sorted(member.filename for member in archive.infolist() if not member.is_dir())
    except Exception as error:  # bytes that nobody meant to write raise anything
        raise UserError(
            f"{str(path)!r} cannot be read as a .zip archive ({one_line(error)}); unpack it and give the folder"
        ) from None


def open_picture_file(path: str) -> IO[bytes] | BinaryIO:
    """An ordinary file, or a member of an archive where the path goes through one; OSError and as ``open_ordinary``."""
    if is_member(path):
        return read_member(path)
    archive, member = _split(path)
    if not member:
        return open_ordinary(path)
    status = os.stat(archive)
    held = _archive(archive, os.getpid(), status.st_mtime_ns, status.st_size)
    info = held.getinfo(member)
    if info.file_size > LARGEST:
        raise OSError(f"it has {readable_size(info.file_size)}, expected at most {readable_size(LARGEST)}")
    return held.open(info)


def _split(path: str) -> tuple[str, str]:
    """The archive that a path goes through, and the member's name; empty where there is none."""
    start = path.lower().find(".zip/")
    while start >= 0:
        if os.path.isfile(path[: start + 4]):
            return path[: start + 4], path[start + 5 :]
        start = path.lower().find(".zip/", start + 5)
    return "", ""


@lru_cache(maxsize=4)
def _archive(path: str, *_: int) -> zipfile.ZipFile:
    """Kept open, for one process, as a fork would share its position, and one state of the file."""
    open_ordinary(path).close()  # which refuses what is no ordinary file
    return zipfile.ZipFile(path)
