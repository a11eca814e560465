"""Posteriors on disk, as Zarr."""

import shutil
from pathlib import Path

import xarray as xr

from ppvae.errors import UserError
from ppvae.files import replace_atomically
from ppvae.posterior.streaming import STREAMED, open_posterior

__all__ = ["read_posterior", "write_posterior"]


def write_posterior(tree: xr.DataTree, path: Path | str) -> None:
    """Write a DataTree as a Zarr folder, replacing an older one only when the new one is whole."""
    path = Path(path)
    if path.exists() and not (path / "zarr.json").is_file():
        raise UserError(f"{path} is there and is no posterior; give a path of its own, such as {path}/posterior.zarr")

    def write(temporary: Path) -> None:
        bare = tree.map_over_datasets(_own_chunks)
        bare.attrs = {name: value for name, value in tree.attrs.items() if name not in STREAMED}
        bare.to_zarr(temporary, consolidated=False)
        if path.exists():
            shutil.rmtree(path)

    replace_atomically(path, write)


def read_posterior(path: Path | str) -> xr.DataTree:
    """Open a Zarr folder lazily, one that ``from_pyro_svi`` streamed as dask arrays where dask is installed.

    Errors: one-line :class:`~ppvae.errors.UserError` where there is none, or where its export was killed half way.
    """
    if not (Path(path) / "zarr.json").is_file():
        raise UserError(f"there is no posterior at {path}; make one with ppvae.from_pyro_svi and write_posterior")
    return open_posterior(Path(path))


def _own_chunks(group: xr.Dataset) -> xr.Dataset:
    """Without the chunks of the store it was read from, which need not divide a subset's."""
    group = group.drop_encoding()
    return group.chunk({dim: max(sizes) for dim, sizes in group.chunksizes.items()}) if group.chunks else group
