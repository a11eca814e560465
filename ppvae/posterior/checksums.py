"""Stores that notice what was lost, flipped or replaced: checksums of all that a Zarr folder holds."""

import json
import math
import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr
from zarr.abc.store import ByteRequest
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from ppvae.errors import UserError
from ppvae.files import replace_atomically, settled

__all__ = [
    "CheckedStore",
    "Replaced",
    "attributes_of",
    "change_attributes",
    "damaged",
    "seal",
    "with_checksums",
]

# xarray does not show attributes that begin with _nc, so that no copy of a tree inherits them.
FILES, OWN = (
    "_nc_checksums",
    "_nc_checksum",
)  # CRC32 of the metadata of all groups and arrays; of the root's without OWN
ROOT = "zarr.json"
CHUNK = re.compile(r"(.+)/c((?:/\d+)*)")
SMALL = 2**25  # bytes of chunks that are verified at opening; larger stores are where they are read
MISSING, VALUES, METADATA = (
    "is missing",
    "holds other values than were written",
    "holds other metadata than were written",
)


class Replaced(UserError):
    """A store was replaced while it was read."""


def with_checksums(group: xr.Dataset) -> xr.Dataset:
    """The group, to be written so that each chunk of each variable ends in its checksum."""
    group = group.drop_encoding()
    for variable in group.variables.values():
        variable.encoding["compressors"] = (ZstdCodec(level=0), Crc32cCodec())
    return group


def seal(path: Path) -> None:
    """Note the checksums of the store's metadata in its root; those of chunks are at their end, by Zarr's crc32c."""
    change_attributes(path, {FILES: {key: zlib.crc32((path / key).read_bytes()) for key in _metadata_files(path)}})


def attributes_of(path: Path) -> dict[str, Any]:
    """The root's attributes. Errors: :class:`~ppvae.errors.UserError` where its file is damaged."""
    return _root(path)["attributes"]


def change_attributes(path: Path, changes: Mapping[str, Any]) -> None:
    """Set some of the root's attributes, or take them away by None, in one step."""
    root = _root(path)
    attributes = {**root["attributes"], **changes}
    root["attributes"] = {name: value for name, value in attributes.items() if value is not None and name != OWN}
    if FILES in attributes:
        root["attributes"][OWN] = _sum(root)
    content = json.dumps(root, indent=2)
    replace_atomically(path / ROOT, lambda temporary: temporary.write_text(content))


def damaged(path: Path, what: str) -> UserError:
    """One line: which store, what is wrong with it, what to do."""
    return UserError(f"the store at {path} is damaged: {what}; remove it and make it again, or bring back a copy")


class CheckedStore(LocalStore):
    """A folder to be read: its metadata verified and kept, its chunks verified when they are read, lazily too.

    It never mixes the folder with one that takes its place.
    Errors: :class:`~ppvae.errors.UserError` for a file that is missing or damaged, or where another store has taken
    this one's place since it was opened.
    """

    def __init__(self, root: Path, *, read_only: bool = True) -> None:  # noqa: ARG002
        super().__init__(root, read_only=True)
        settled(root)
        self.identity = _identity(root)
        try:
            self.attributes = attributes_of(root)
        except UserError:
            raise self.complaint(ROOT, METADATA) from None
        self.metadata = {key: _content(self, key) for key in self.attributes.get(FILES, _metadata_files(root))}
        for key, number in self.attributes.get(FILES, {}).items():
            if zlib.crc32(self.metadata[key]) != number:
                raise self.complaint(key, METADATA)
        self.metadata[ROOT] = _content(self, ROOT)
        self._check_place()
        sealed = {} if FILES not in self.attributes else self.metadata
        nodes = {key.removesuffix(f"/{ROOT}"): json.loads(content) for key, content in sealed.items()}
        self.arrays = {name: node for name, node in nodes.items() if _ends_in_checksum(node)}

    def check_chunks(self, verify: bool | None = None) -> None:
        """UserError unless all chunks are there; ``verify``: and hold what was written, as small stores are always
        asked (32 MiB)."""
        chunks = (chunk for name, array in self.arrays.items() for chunk in _chunks(name, array))
        sizes = {key: _size(self, key, least, most) for key, least, most in chunks}
        if verify or (verify is None and sum(sizes.values()) <= SMALL):
            for key in sizes:
                if not _sound(np.frombuffer(_content(self, key), np.uint8)):
                    raise self.complaint(key, VALUES)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if key.endswith(ROOT):
            return self._kept(key, prototype)
        return self._checked(key, await super().get(key, prototype, byte_range), byte_range)

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if key.endswith(ROOT):
            return self._kept(key, prototype)
        return self._checked(key, super().get_sync(key, prototype=prototype, byte_range=byte_range), byte_range)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        start = f"{prefix.rstrip('/')}/".lstrip("/")
        for name in {key.removeprefix(start).split("/")[0] for key in self.metadata if key.startswith(start)}:
            yield name

    def complaint(self, key: str, what: str) -> UserError:
        """What to raise for a file that is not as it should be: the store may just have been replaced."""
        settled(self.root)
        if _identity(self.root) != self.identity:
            return Replaced(f"the store at {self.root} was replaced since it was opened; read it again")
        return damaged(self.root, f"{key} {what}")

    def _kept(self, key: str, prototype: BufferPrototype | None) -> Buffer | None:
        content = self.metadata.get(key)
        return None if content is None else (prototype or default_buffer_prototype()).buffer.from_bytes(content)

    def _checked(self, key: str, value: Buffer | None, byte_range: ByteRequest | None) -> Buffer | None:
        chunk = CHUNK.fullmatch(key)
        if chunk and chunk[1] in self.arrays:
            if value is None:
                raise self.complaint(key, MISSING)
            if byte_range is None and not _sound(value.as_numpy_array()):
                raise self.complaint(key, VALUES)
        self._check_place()
        return value

    def _check_place(self) -> None:
        if _identity(self.root) != self.identity:
            raise self.complaint(ROOT, "comes and goes")


def _identity(path: Path) -> tuple[int, ...] | None:
    """Differs between a store and the one that takes its place."""
    try:
        found = (path / ROOT).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _root(path: Path) -> dict[str, Any]:
    try:
        root = json.loads((path / ROOT).read_bytes())
        attributes = root.setdefault("attributes", {})
        whole = attributes.get(OWN) == (_sum(root) if FILES in attributes else None)
    except (OSError, ValueError, AttributeError, TypeError):
        whole = False
    if not whole:
        raise damaged(path, f"{ROOT} {METADATA}")
    return root


def _sum(root: Mapping[str, Any]) -> int:
    attributes = {name: value for name, value in root["attributes"].items() if name != OWN}
    return zlib.crc32(json.dumps({**root, "attributes": attributes}, sort_keys=True).encode())


def _content(store: CheckedStore, key: str) -> bytes:
    try:
        return (store.root / key).read_bytes()
    except OSError:
        raise store.complaint(key, MISSING) from None


def _metadata_files(path: Path) -> list[str]:
    """Of all groups and arrays but the root."""
    files = (file.relative_to(path).as_posix() for file in path.rglob(ROOT))
    return sorted(file for file in files if file != ROOT)


def _ends_in_checksum(node: Mapping[str, Any]) -> bool:
    return node["node_type"] == "array" and node["codecs"][-1]["name"] == Crc32cCodec().to_dict()["name"]


def _chunks(name: str, array: Mapping[str, Any]) -> Iterator[tuple[str, int, float]]:
    """Each chunk's key, and between which numbers of bytes its file has."""
    sizes = array["chunk_grid"]["configuration"]["chunk_shape"]
    least, most = 5, math.inf
    if len(array["codecs"]) == 2 and isinstance(array["data_type"], str) and array["codecs"][0]["name"] == "bytes":
        least = most = math.prod(sizes) * np.dtype(array["data_type"]).itemsize + 4
    counts = [math.ceil(length / size) for length, size in zip(array["shape"], sizes, strict=True)]
    for place in product(*map(range, counts)):
        yield "/".join([name, "c", *map(str, place)]), least, most


def _size(store: CheckedStore, key: str, least: int, most: float) -> int:
    try:
        size = (store.root / key).stat().st_size
    except OSError:
        raise store.complaint(key, MISSING) from None
    if not least <= size <= most:
        raise store.complaint(key, f"has {size} bytes, {least} were written" if least == most else "is cut off")
    return size


def _sound(chunk: np.ndarray) -> bool:
    """Whether the CRC32C at the end is that of all before."""
    return len(chunk) >= 4 and google_crc32c.value(chunk[:-4]) == int.from_bytes(chunk[-4:].tobytes(), "little")
