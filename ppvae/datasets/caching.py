"""Images decoded once, into a Zarr store that is whole or not there."""

import logging
import os
import re
import zlib
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.images import Images
from ppvae.datasets.streamed import StreamedImages
from ppvae.datasets.zarr_stores import BINARY, VALUES, ZarrArray, stored_arrays
from ppvae.described import shown
from ppvae.errors import UserError
from ppvae.files import replace_atomically, settled

if TYPE_CHECKING:
    from zarr import Group

__all__ = ["cached", "write_zarr"]

logger = logging.getLogger(__name__)

CHUNK_BYTES = 2**19  # of images: 42 of 3 × 64 × 64, 130 chunks a window
BLOCK_BYTES = 2**26  # decoded at a time
MADE_OF = "made_of"


def write_zarr(data: ImageDataset, path: PathLike[str] | str) -> None:
    """Write the stored images of a dataset and its factors into a Zarr folder, which ``zarr`` reads as the same
    dataset.

    Images are drawn or decoded some hundred at a time, so that their number is not bounded by memory; each chunk ends
    in its checksum. A kill leaves what was at ``path`` before. Conversions such as ``binarise`` are not written.
    Errors: :class:`~ppvae.errors.UserError` where ``path`` is there already, for a file that cannot be decoded, and for
    a full disk.
    """
    if settled(Path(path)):
        raise UserError(f"{str(path)!r} is there already: remove it, or give another path")
    _write(data, Path(path), {})


def cached(data: ImageDataset, folder: PathLike[str] | str | None) -> ImageDataset:
    """The dataset with its images read from a store of its own in ``folder``, which is written first where there is
    none.

    None: the dataset as it is. Another set, other files, files written anew, another shape, or pictures brought into
    shape otherwise, have another store there.
    """
    if folder is None:
        return data
    made_of = _made_of(data)
    path = Path(folder) / f"{re.sub(r'\W+', '_', data.name)}_{zlib.crc32(made_of.encode()):08x}.zarr"
    if not settled(path):
        logger.info("%s is made of %s", path, data.description)
        _write(data, path, {MADE_OF: made_of})
    array = stored_arrays(path, "images")["images"]
    if array.attrs.get(MADE_OF) != made_of:
        raise UserError(f"{str(path)!r} is not made of {made_of}: remove it, or give another cache")
    images = StreamedImages(ZarrArray(path, array), real=data.images.real, binary=data.images.binary)
    return ImageDataset(images, data.table, data.name, real=data.images.real)


def _write(data: ImageDataset, path: Path, attributes: dict[str, str]) -> None:
    """Write the store, unless another process has done so meanwhile."""
    from zarr import create_group

    def write(temporary: Path) -> None:
        group = create_group(temporary)
        _write_images(group, data.images, attributes)
        for name, values in data.table.variables.items():
            if name != "image":
                _write_column(group, str(name), values)
        if path.exists():  # `settled` would wait for what is written here
            raise _WrittenMeanwhile

    with suppress(_WrittenMeanwhile):
        replace_atomically(path, write)


class _WrittenMeanwhile(Exception):
    """By another process, which decoded the same pictures at the same time."""


def _write_images(group: "Group", images: Images, attributes: dict[str, str]) -> None:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    image_bytes = (4 if images.real else 1) * int(np.prod(images.shape[1:]))
    chunk = min(len(images), max(1, CHUNK_BYTES // image_bytes))
    array = group.create_array(
        "images",
        shape=images.shape,
        chunks=(chunk, *images.shape[1:]),
        dtype="float32" if images.real else "uint8",
        compressors=[ZstdCodec(level=0), Crc32cCodec()],
        config={"write_empty_chunks": True},
        attributes={BINARY: images.binary, **attributes},
    )
    block = chunk * max(1, BLOCK_BYTES // (image_bytes * chunk))
    for start in range(0, len(images), block):
        array[start : start + block] = images.stored(slice(start, start + block)).cpu().numpy()


def _write_column(group: "Group", name: str, values: xr.Variable) -> None:
    """A factor with its levels, a continuous one, or the files' names."""
    kind = str if values.dtype.kind == "U" else values.dtype
    told = {key: value for key, value in values.attrs.items() if key != "levels"}
    attributes = {} if name == "file" else {VALUES: None, **told}
    array = group.create_array(
        name, shape=values.shape, dtype=kind, config={"write_empty_chunks": True}, attributes=attributes
    )
    array[:] = values.values


def _made_of(data: ImageDataset) -> str:
    """What tells the images from others: their name, number and shape, their files' names, when these were written and
    how they are read."""
    kind = "real numbers" if data.images.real else "bytes"
    paths = getattr(data.images, "files", np.array([], dtype=str)).tolist()
    names = [file.replace("\\", "/").rsplit("/", 1)[-1] for file in (paths if data.files is None else data.files)]
    states = [*map(_state, paths)]
    digest = zlib.crc32("\n".join([shown(getattr(data.images, "decode", None)), *names, *states]).encode())
    return f"{data.name}, {' × '.join(map(str, data.images.shape))} {kind}, {digest:08x}"


def _state(path: str) -> str:
    """Size and time of the file on disk, or of the archive that the path goes through."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a member of an archive, whose path names that first
        above = os.path.dirname(path)
        return _state(above) if above not in ("", path) else ""
    return f"{status.st_size} {status.st_mtime_ns}"
