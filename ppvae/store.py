"""Posteriors on disk, as Zarr."""

import shutil
from pathlib import Path

import xarray as xr

from ppvae.errors import UserError
from ppvae.files import replace_atomically

__all__ = ["read_posterior", "write_posterior"]


def write_posterior(tree: xr.DataTree, path: Path | str) -> None:
    """Write a DataTree as a Zarr folder, replacing an older one only when the new one is whole."""
    path = Path(path)
    if path.exists() and not (path / "zarr.json").is_file():
        raise UserError(f"{path} is there and is no posterior; give a path of its own, such as {path}/posterior.zarr")

    def write(temporary: Path) -> None:
        tree.to_zarr(temporary, consolidated=False)
        if path.exists():
            shutil.rmtree(path)

    replace_atomically(path, write)


def read_posterior(path: Path | str) -> xr.DataTree:
    """Open a Zarr folder lazily; one-line :class:`~ppvae.errors.UserError` where there is none."""
    if not (Path(path) / "zarr.json").is_file():
        raise UserError(f"there is no posterior at {path}; make one with ppvae.from_pyro_svi and write_posterior")
    return xr.open_datatree(path, engine="zarr", consolidated=False)
