"""The arrays of an .npz file: looked at by their headers, read as far as the memory goes, never unpickled."""

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from ppvae.datasets.reading import reading
from ppvae.memory import check_memory
from ppvae.ordinary import open_ordinary

__all__ = ["Archive", "Header", "numpy_archive"]

COPIES = 2  # of the arrays read, while pixels are brought into shape


@dataclass(frozen=True)
class Header:
    """What an archive declares of one array."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive(Mapping[str, Header]):
    """Headers by the arrays' names, without those of pickled objects; ``read`` gives the arrays themselves."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)
        members = [member for member in self._zip.infolist() if member.filename.endswith(".npy")]
        headers = {member.filename.removesuffix(".npy"): self._header(member) for member in members}
        self._headers = {name: header for name, header in headers.items() if not header.dtype.hasobject}
        self.pickled = headers.keys() - self._headers.keys()

    def __getitem__(self, name: str) -> Header:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays of these names; MemoryError, before any is read, where they do not fit."""
        wanted = {name: self[name] for name in names}
        check_memory(", ".join(wanted), COPIES * sum(header.nbytes for header in wanted.values()))
        return {name: self._array(header) for name, header in wanted.items()}

    def _array(self, header: Header) -> np.ndarray:
        with self._zip.open(header.member) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            file.read(1)  # the end, where zipfile compares the checksum
        return array

    def _header(self, member: zipfile.ZipInfo) -> Header:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"the name {member.filename!r} leads out of the archive")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{member.filename!r} is compressed in a way that numpy.savez does not use")
        with self._zip.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            header, begun = Header(member, shape, dtype), file.tell()
        if not dtype.hasobject and (min(shape, default=0) < 0 or begun + header.nbytes != member.file_size):
            raise ValueError(f"{member.filename!r} declares {shape} {dtype}, which is not what it holds")
        return header


@contextmanager
def numpy_archive(path: str | PathLike[str], what: str, remedy: str) -> Iterator[Archive]:
    """The archive at ``path``; whatever is wrong with it, or raised while it is open, is a UserError as of
    ``reading``."""
    with reading(path, what, remedy), open_ordinary(path) as file:
        yield Archive(file)
