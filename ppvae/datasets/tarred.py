"""Files inside uncompressed .tar archives, by a path that says where their bytes are:
``a.tar/cone_1.png#1536+20480``."""

import os
import re
import tarfile
from io import BytesIO
from typing import NamedTuple

from ppvae.memory import readable_size
from ppvae.ordinary import open_ordinary

__all__ = ["Member", "is_member", "members_of_tar", "read_member"]

LARGEST = 2**30  # bytes of a member
PLACE = re.compile(r"(?P<archive>.+\.tar)/(?P<name>.+)#(?P<start>\d+)\+(?P<size>\d+)", re.DOTALL)


class Member(NamedTuple):
    """A file of an archive: the archive's path, its name there, and the path that ``read_member`` takes."""

    archive: str
    name: str
    path: str


def members_of_tar(archive: str) -> list[Member]:
    """The ordinary files of an archive, in its order.

    Errors: OSError, ValueError and tarfile's for a file that is no whole, uncompressed .tar archive.
    """
    with open_ordinary(archive) as file, tarfile.open(fileobj=file, mode="r:") as index:
        end = os.fstat(file.fileno()).st_size
        found = [member for member in index if member.isreg() and member.sparse is None]
        if found and found[-1].offset_data + found[-1].size > end:
            raise ValueError(f"{found[-1].name!r} is cut off")
    return [Member(archive, one.name, f"{archive}/{one.name}#{one.offset_data}+{one.size}") for one in found]


def is_member(path: str) -> bool:
    """Whether a path says where in an archive the bytes are."""
    return PLACE.fullmatch(path) is not None


def read_member(path: str) -> BytesIO:
    """The bytes at such a path; OSError where there are none, and as ``open_ordinary``."""
    place = PLACE.fullmatch(path)
    start, size = int(place["start"]), int(place["size"])
    if size > LARGEST:
        raise OSError(f"it has {readable_size(size)}, expected at most {readable_size(LARGEST)}")
    with open_ordinary(place["archive"]) as file:
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise OSError("the archive is shorter than when it was opened")
    return BytesIO(content)
