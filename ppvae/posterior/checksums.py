"""Stores that notice what was lost, flipped or replaced: checksums of all that a Zarr folder holds."""

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr
from zarr.abc.store import ByteRequest
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from ppvae.errors import UserError
from ppvae.files import replace_atomically, settled

__all__ = [
    "CheckedStore",
    "Replaced",
    "attributes_of",
    "change_attributes",
    "check_metadata",
    "checked_store",
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
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob(ROOT))
    sums = {file: zlib.crc32((path / file).read_bytes()) for file in files if file != ROOT}
    change_attributes(path, {FILES: sums})


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


def checked_store(path: Path, verify: bool | None = None) -> "CheckedStore":
    """The finished store at ``path``, to be read: its metadata verified, and all of its chunks there.

    ``verify``: read all chunks too, which else only small stores do (32 MiB).
    Errors: :class:`~ppvae.errors.UserError` that names the first file that is damaged or missing.
    """
    store = CheckedStore(path)
    nodes = _nodes(store)
    store.summed = frozenset(name for name, node in nodes.items() if _ends_in_checksum(node))
    sizes = {
        key: _size(store, key, least, most) for name in store.summed for key, least, most in _chunks(name, nodes[name])
    }
    if verify or (verify is None and sum(sizes.values()) <= SMALL):
        for key in sizes:
            if not _sound(np.frombuffer(_content(store, key), np.uint8)):
                raise store.complaint(key, "holds other numbers than were written")
    return store


def check_metadata(path: Path) -> None:
    """UserError where the metadata of a store, finished or not, are damaged."""
    _nodes(CheckedStore(path))


def damaged(path: Path, what: str) -> UserError:
    """One line: which store, what is wrong with it, what to do."""
    return UserError(f"the store at {path} is damaged: {what}; remove it and make it again, or bring back a copy")


class CheckedStore(LocalStore):
    """A folder whose chunks are verified when they are read, lazily too, and that never mixes two stores.

    Errors: :class:`~ppvae.errors.UserError` for a chunk that is missing or damaged, or where another store has taken
    this one's place since it was opened.
    """

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:  # noqa: ARG002
        super().__init__(Path(root), read_only=True)
        settled(self.root)
        self.identity = _identity(self.root)
        self.summed: frozenset[str] = frozenset()  # arrays whose chunks end in their CRC32C

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return self._checked(key, await super().get(key, prototype, byte_range), byte_range)

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return self._checked(key, super().get_sync(key, prototype=prototype, byte_range=byte_range), byte_range)

    def complaint(self, key: str, what: str) -> UserError:
        """What to raise for a file that is not as it should be: the store may just have been replaced."""
        settled(self.root)
        if _identity(self.root) != self.identity:
            return Replaced(f"the store at {self.root} was replaced since it was opened; read it again")
        return damaged(self.root, f"{key} {what}")

    def _checked(self, key: str, value: Buffer | None, byte_range: ByteRequest | None) -> Buffer | None:
        chunk = CHUNK.fullmatch(key)
        if chunk and chunk[1] in self.summed:
            if value is None:
                raise self.complaint(key, "is missing")
            if byte_range is None and not _sound(value.as_numpy_array()):
                raise self.complaint(key, "holds other numbers than were written")
        if _identity(self.root) != self.identity:
            raise self.complaint(key, "has changed")
        return value


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
        raise damaged(path, f"{ROOT} holds other metadata than were written")
    return root


def _sum(root: Mapping[str, Any]) -> int:
    attributes = {name: value for name, value in root["attributes"].items() if name != OWN}
    return zlib.crc32(json.dumps({**root, "attributes": attributes}, sort_keys=True).encode())


def _content(store: CheckedStore, key: str) -> bytes:
    try:
        return (store.root / key).read_bytes()
    except OSError:
        raise store.complaint(key, "is missing") from None


def _nodes(store: CheckedStore) -> dict[str, dict[str, Any]]:
    """The metadata of groups and arrays by name; none of a store of an earlier version, which has no checksums."""
    sums = _root(store.root)["attributes"].get(FILES, {})
    return {file.removesuffix(f"/{ROOT}"): _metadata(store, file, number) for file, number in sums.items()}


def _metadata(store: CheckedStore, key: str, number: int) -> dict[str, Any]:
    content = _content(store, key)
    if zlib.crc32(content) != number:
        raise store.complaint(key, "holds other metadata than were written")
    return json.loads(content)


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
        raise store.complaint(key, "is missing") from None
    if not least <= size <= most:
        raise store.complaint(key, f"has {size} bytes, {least} were written" if least == most else "is cut off")
    return size


def _sound(chunk: np.ndarray) -> bool:
    """Whether the CRC32C at the end is that of all before."""
    return len(chunk) >= 4 and google_crc32c.value(chunk[:-4]) == int.from_bytes(chunk[-4:].tobytes(), "little")
