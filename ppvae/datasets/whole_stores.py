"""Zarr folders whose chunks are all there; apart, as importing Zarr takes its time."""

from pathlib import Path
from typing import final

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from ppvae.errors import UserError

__all__ = ["WholeStore"]

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


@final
class WholeStore(LocalStore):
    """A folder to be read. UserError for a chunk that was lost since it was opened: Zarr would read zeros."""

    def __init__(self, root: Path, *, read_only: bool = True) -> None:  # noqa: ARG002
        super().__init__(root, read_only=True)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return self._there(key, await super().get(key, prototype, byte_range))

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return self._there(key, super().get_sync(key, prototype=prototype, byte_range=byte_range))

    def _there(self, key: str, found: Buffer | None) -> Buffer | None:
        if found is None and not key.endswith(METADATA):
            raise UserError(f"the chunk {key!r} of {str(self.root)!r} was lost since it was opened: bring it back")
        return found
