"""Posteriors on disk, as Zarr."""

from pathlib import Path

import xarray as xr
from zarr.storage import LocalStore

from ppvae.errors import UserError
from ppvae.files import replace_atomically, settled
from ppvae.posterior.checksums import seal, with_checksums
from ppvae.posterior.streaming import STREAMED, open_posterior

__all__ = ["read_posterior", "write_posterior"]


def write_posterior(tree: xr.DataTree, path: Path | str) -> None:
    """Write a DataTree as a Zarr folder with checksums; a kill leaves the older one at ``path`` or the new one.

    Errors: :class:`~ppvae.errors.UserError` where something else is at ``path``, or the disk does not take it.
    """
    path = Path(path)
    if settled(path) and not (path / "zarr.json").is_file():
        raise UserError(f"{path} is there and is no posterior; give a path of its own, such as {path}/posterior.zarr")

    def write(temporary: Path) -> None:
        bare = tree.map_over_datasets(_own_chunks)
        bare.attrs = {name: value for name, value in tree.attrs.items() if name not in STREAMED}
        bare.to_zarr(LocalStore(temporary), consolidated=False, write_empty_chunks=True)
        seal(temporary)

    replace_atomically(path, write)


def read_posterior(path: Path | str, verify: bool | None = None) -> xr.DataTree:
    """Open a Zarr folder lazily, one that ``from_pyro_svi`` streamed as dask arrays where dask is installed.

    Every file that the store declares is looked for; the values are compared with their checksums when they are read,
    and, where all chunks together take at most 32 MiB, at once. ``verify=True`` does so for larger ones too, ``False``
    for none. Stores of earlier versions have no checksums.

    Errors: one-line :class:`~ppvae.errors.UserError` where there is none, where its export was killed half way, or
    where a file of it is missing or damaged; also when values are read later, from a store that another process
    replaced or damaged since.
    """
    path = Path(path)
    if not settled(path) or not (path / "zarr.json").is_file():
        raise UserError(f"there is no posterior at {path}; make one with ppvae.from_pyro_svi and write_posterior")
    return open_posterior(path, verify)


def _own_chunks(group: xr.Dataset) -> xr.Dataset:
    """Without the chunks of the store it was read from, which need not divide a subset's."""
    group = with_checksums(group)
    return group.chunk({dim: max(sizes) for dim, sizes in group.chunksizes.items()}) if group.chunks else group
