"""A posterior written to Zarr block by block, and continued where a killed export left it."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from ppvae.errors import UserError, one_line
from ppvae.files import explained, replace_atomically, settled
from ppvae.pair.sites import Arrays
from ppvae.posterior.checksums import (
    CheckedStore,
    Replaced,
    attributes_of,
    change_attributes,
    seal,
    with_checksums,
)

__all__ = ["STREAMED", "Stream", "open_posterior"]

BLOCK = 2**25  # bytes of the largest variable in one Zarr chunk: few files, little memory
PIXELS = ("observed_data", "posterior_predictive")  # compress well; the mantissas of codes do not
STREAMED = ("fingerprint", "images_per_block")  # attributes of a streamed store, and of no copy or subset of it
REPLACED = 20  # stores that may take each other's place while one is opened
PENDING = 2  # blocks that wait to be written while the next is computed


class Stream:
    """A Zarr folder that fills up along ``image``, ``chunk`` images being computed at a time.

    ``fingerprint``: all that the content depends on, kept in the store; a store with another one is refused.
    Errors: :class:`~ppvae.errors.UserError` where ``path`` is no posterior, another call's, or damaged.
    """

    def __init__(self, path: Path, images: int, chunk: int, fingerprint: dict[str, Any]) -> None:
        self.path, self.images, self.chunk, self.fingerprint = path, images, chunk, fingerprint
        if settled(path) and not (path / "zarr.json").is_file():
            raise UserError(f"{path} is there and is no posterior; give store a path of its own")
        self.found = self.started and self.done == images
        if self.started:
            CheckedStore(path)
            self._check()

    @property
    def started(self) -> bool:
        """Whether the store has its arrays, filled or not."""
        return self.path.exists()

    @property
    def done(self) -> int:
        """How many images, from the first on, are written."""
        return attributes_of(self.path).get("images_done", self.images)

    def start(self, template: xr.DataTree) -> None:
        """Make the arrays of ``template``, whose variables along ``image`` have no values yet, and write all others."""
        growing = {name: array for name, array in _variables(template) if _grows(name, array)}
        widest = max(array.nbytes // self.images for array in growing.values())
        block = min(max(1, BLOCK // widest // self.chunk) * self.chunk, self.images)
        bare = xr.DataTree.from_dict({name: _without(group, growing) for name, group in template.children.items()})
        bare.attrs = {**template.attrs, "fingerprint": self.fingerprint, "images_per_block": block, "images_done": 0}

        def write(temporary: Path) -> None:
            bare.to_zarr(LocalStore(temporary), consolidated=False, write_empty_chunks=True)
            for name, array in growing.items():
                _create(LocalStore(temporary), name, array, block)
            seal(temporary)

        replace_atomically(self.path, write)

    def write(self, parts: Iterator[dict[str, Arrays]]) -> None:
        """Write the chunks behind the ``done`` ones; a thread of its own writes while the next are computed."""
        root, start = zarr.open_group(LocalStore(self.path), mode="r+"), self.done
        pending: deque[Future] = deque()
        with ThreadPoolExecutor(max_workers=1) as writer:
            while start < self.images:
                stop = min(start + root.attrs["images_per_block"], self.images)
                block = _filled(parts, stop - start)
                pending.append(writer.submit(_write_block, self.path, root, block, start, stop))
                start = stop
                while len(pending) > PENDING:
                    pending.popleft().result()
            while pending:
                pending.popleft().result()
        self._finish()

    def opened(self) -> xr.DataTree:
        """The finished store, read lazily; one that was found finished is verified first, whatever its size."""
        return open_posterior(self.path, verify=True if self.found else None)

    def _finish(self) -> None:
        for left in self.path.rglob("*.partial"):  # of a write that was killed
            left.unlink()
        change_attributes(self.path, {"images_done": None})

    def _check(self) -> None:
        then, now = attributes_of(self.path).get("fingerprint"), _plain(self.fingerprint)
        if then is None:
            raise UserError(f"{self.path} holds a posterior that no call with store= wrote; give store another path")
        for name in sorted((then.keys() | now.keys()) - {"probe"}):
            if then.get(name) != now.get(name):
                before, after = (str(values.get(name))[:12] for values in (then, now))
                raise UserError(
                    f"store {self.path} is of another call, with {name}={before}, now it is {after}; "
                    "give the same to continue, or another store"
                )
        if not _near(then.get("probe", {}), now.get("probe", {})):
            raise UserError(
                f"store {self.path} is of another pair: on its first images these programs draw or score otherwise; "
                "give the same to continue, or another store"
            )


def open_posterior(path: Path, verify: bool | None = None) -> xr.DataTree:
    """Open a store lazily; one that was streamed as dask arrays where dask is installed.

    Errors: :class:`~ppvae.errors.UserError` for a store that a killed export left unfinished, or that is damaged.
    """
    for _ in range(REPLACED):
        with suppress(Replaced):
            return _opened(path, verify)
    return _opened(path, verify)


def _opened(path: Path, verify: bool | None) -> xr.DataTree:
    store = CheckedStore(path)
    attributes = store.attributes
    if "images_done" in attributes:
        raise UserError(
            f"the posterior at {path} is unfinished, {attributes['images_done']} of "
            f"{attributes['fingerprint']['images']} images: make the same from_pyro_svi call again to complete it"
        )
    large = "fingerprint" in attributes and find_spec("dask") is not None
    store.check_chunks(verify)
    try:
        return xr.open_datatree(store, engine="zarr", consolidated=False, chunks={} if large else None)
    except UserError:
        raise
    except Exception as error:  # whatever Zarr and xarray make of metadata without checksums
        raise store.complaint("its metadata", f"cannot be read ({one_line(error)})") from None


def _plain(fingerprint: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from the store."""
    return json.loads(json.dumps(fingerprint))


def _near(then: dict[str, list[float]], now: dict[str, list[float]]) -> bool:
    """Equal but for rounding, which another number of threads changes."""
    sizes, others = ({name: len(numbers) for name, numbers in probe.items()} for probe in (then, now))
    return sizes == others and all(np.allclose(then[name], now[name], rtol=1e-4, atol=1e-5) for name in then)


def _grows(name: str, array: xr.DataArray) -> bool:
    return "image" in array.dims and not name.startswith("constant_data/")  # these are given as a whole


def _variables(tree: xr.DataTree) -> Iterator[tuple[str, xr.DataArray]]:
    for group in tree.children.values():
        yield from ((f"{group.name}/{name}", array) for name, array in group.data_vars.items())


def _without(group: xr.DataTree, names: Iterable[str]) -> xr.Dataset:
    growing = [name.split("/")[1] for name in names if name.split("/")[0] == group.name]
    return with_checksums(group.to_dataset().drop_vars(growing))


def _create(store: LocalStore, name: str, array: xr.DataArray, block: int) -> None:
    sizes = {**array.sizes, "image": block}
    zarr.create_array(
        store,
        name=name,
        shape=array.shape,
        chunks=tuple(sizes.values()),
        dtype=array.dtype,
        dimension_names=array.dims,
        attributes=array.attrs,
        compressors=[*([ZstdCodec(level=1)] if name.split("/")[0] in PIXELS else []), Crc32cCodec()],
        config={"write_empty_chunks": True},  # looking for empty ones costs a pass
    )


def _filled(parts: Iterator[dict[str, Arrays]], images: int) -> dict[str, np.ndarray]:
    """The next ``images`` images of all variables; one array each, so that a chunk's memory is free at once."""
    block: dict[str, np.ndarray] = {}
    start = 0
    while start < images:
        for name, axis, values in _columns(next(parts)):
            if name not in block:
                block[name] = np.empty((*values.shape[:axis], images, *values.shape[axis + 1 :]), values.dtype)
            stop = start + values.shape[axis]
            block[name][(*(slice(None),) * axis, slice(start, stop))] = values
        start = stop
    return block


def _columns(part: dict[str, Arrays]) -> Iterator[tuple[str, int, np.ndarray]]:
    for group, variables in part.items():
        for name, (dims, array) in variables.items():
            yield f"{group}/{name}", dims.index("image"), array.detach().cpu().numpy()


def _write_block(path: Path, root: zarr.Group, block: dict[str, np.ndarray], start: int, stop: int) -> None:
    with explained(path):
        for name, values in block.items():
            array = root[name]
            axis = array.metadata.dimension_names.index("image")
            shape = (*array.shape[:axis], stop - start, *array.shape[axis + 1 :])  # with the one chain
            array[(*(slice(None),) * axis, slice(start, stop))] = values.reshape(shape)
        change_attributes(path, {"images_done": stop})
