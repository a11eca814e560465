"""Damaged and replaced stores: one line that names them, at opening or where values are read; never other values."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from guides import MeanFieldNormal
from ppvae import VAE, UserError, from_pyro_svi, read_posterior, write_posterior
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.posterior import streaming
from ppvae.posterior.checksums import CheckedStore
from ppvae.priors import NormalPrior


def export(path: Path | None) -> xr.DataTree:
    torch.manual_seed(0)
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (1, 4, 4), hidden=[4]), scale=0.3))
    guide = MeanFieldNormal(MLPEncoder((1, 4, 4), hidden=[4]), 2)
    images = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return from_pyro_svi(model, guide, images, 3, batch_size=6, store=path)


@pytest.fixture(scope="module", params=["written", "streamed"])
def whole(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run#1 ?%20:") / f"{request.param}.zarr"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streaming, "BLOCK", 2 * 4 * 16)  # of two images: four blocks
        write_posterior(export(None), path) if request.param == "written" else export(path)
    return path


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / whole.name)


def noticed(path: Path, expected: xr.DataTree, **options: bool) -> bool:
    """Whether reading it ends in one line; if not, the values are the ones that were written."""
    said = ""
    try:
        assert read_posterior(path, **options).load().identical(expected)
    except UserError as error:
        said = str(error)
    assert not said or (str(path) in said and "\n" not in said)
    return bool(said)


def files_of(path: Path) -> list[Path]:
    return sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())


def test_every_chunk_of_every_array_ends_in_a_checksum(whole):
    members = zarr.open_group(CheckedStore(whole), mode="r").members(None)
    arrays = [node for _, node in members if isinstance(node, zarr.Array)]
    assert len(arrays) > 10
    assert {array.compressors[-1].to_dict()["name"] for array in arrays} == {"crc32c"}
    assert set(CheckedStore(whole).arrays) == {array.path for array in arrays}


@pytest.mark.parametrize("verify", [None, False])
def test_flipped_bits_are_noticed_or_harmless(verify, whole, copy):
    expected, draw = read_posterior(whole).load(), random.Random(0)
    for _ in range(25):
        name = draw.choice(files_of(whole))
        content = bytearray((whole / name).read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (copy / name).write_bytes(content)
        assert noticed(copy, expected, verify=verify) or name.name == "zarr.json", name
        shutil.copy(whole / name, copy / name)


def test_what_is_lost_is_noticed_at_opening(whole, copy, tmp_path):
    places = [*files_of(whole), Path("posterior"), Path("posterior/z"), Path("posterior/z/c")]
    for place in [*random.Random(1).sample(places[:-3], 15), *places[-3:]]:
        (copy / place).rename(tmp_path / "gone")
        with pytest.raises(UserError, match="there is no posterior" if place == Path("zarr.json") else "is damaged"):
            read_posterior(copy, verify=False)
        (tmp_path / "gone").rename(copy / place)
        if (copy / place).is_file() and place.name != "zarr.json":
            content = (copy / place).read_bytes()
            (copy / place).write_bytes(content[: len(content) // 2])
            with pytest.raises(UserError, match=str(place)):
                read_posterior(copy).load()
            (copy / place).write_bytes(content)
    assert not noticed(copy, read_posterior(whole).load())


def test_large_stores_are_verified_where_they_are_read(copy, monkeypatch):
    monkeypatch.setattr("ppvae.posterior.checksums.SMALL", 0)
    chunk = next(file for file in (copy / "posterior" / "z" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(bytes([*chunk.read_bytes()[:-1], 0, 1])[-chunk.stat().st_size :])
    tree = read_posterior(copy)
    tree["sample_stats"].load()
    with pytest.raises(UserError, match=r"posterior/z/c/.* holds other values"):
        tree["posterior"]["z"].load()
    with pytest.raises(UserError, match=r"posterior/z/c/.* holds other values"):
        read_posterior(copy, verify=True)


def test_a_damaged_export_is_not_called_finished(tmp_path, monkeypatch):
    monkeypatch.setattr("ppvae.posterior.checksums.SMALL", 0)
    path = tmp_path / "posterior.zarr"
    export(path)
    chunk = next(file for file in (path / "posterior" / "z" / "c").rglob("*") if file.is_file())
    content = chunk.read_bytes()
    for damage in (chunk.unlink, lambda: chunk.write_bytes(bytes([content[0] ^ 1]) + content[1:])):
        damage()
        with pytest.raises(UserError, match=r"is damaged: posterior/z/c/.*; remove it and make it again"):
            export(path)
    chunk.write_bytes(content)
    assert export(path).identical(read_posterior(path))


def test_copies_by_xarray_are_stores_of_their_own(whole, tmp_path):
    """The checksums do not travel along, and cannot be wrong about a changed copy."""
    changed = xr.open_datatree(zarr.storage.LocalStore(whole), engine="zarr", consolidated=False).load() + 1
    changed.to_zarr(zarr.storage.LocalStore(tmp_path / "copy.zarr"), consolidated=False)
    np.testing.assert_array_equal(read_posterior(tmp_path / "copy.zarr")["posterior"]["z"], changed["posterior"]["z"])
    assert not [name for name in read_posterior(whole).attrs if name.startswith("_nc")]


def test_stores_of_earlier_versions_open(tmp_path):
    tree = export(None)
    tree.to_zarr(zarr.storage.LocalStore(tmp_path / "old.zarr"), consolidated=False)
    assert not noticed(tmp_path / "old.zarr", tree)


def numbers(number: int) -> xr.DataTree:
    values = np.full((1, 2, 5000), float(number))
    dims = ("chain", "draw", "image")
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"z": (dims, values), "w": (dims, values + 0.5)})})


def number_of(tree: xr.DataTree) -> float:
    z, w = (np.unique(tree["posterior"][name]) for name in ("z", "w"))
    assert len(z) == len(w) == 1
    assert w[0] == z[0] + 0.5
    return z[0]


def test_a_store_replaced_behind_a_reader_is_told_apart(tmp_path):
    path = tmp_path / "posterior.zarr"
    write_posterior(numbers(0), path)
    tree = read_posterior(path)
    assert np.unique(tree["posterior"]["z"])[0] == 0
    write_posterior(numbers(1), path)
    with pytest.raises(UserError, match=r"posterior\.zarr was replaced since it was opened; read it again"):
        number_of(tree)
    assert number_of(read_posterior(path)) == 1


WRITER = """
import itertools, runpy, sys
from ppvae import write_posterior
numbers = runpy.run_path(sys.argv[1])["numbers"]
for number in itertools.count(int(sys.argv[3])):
    write_posterior(numbers(number), sys.argv[2])
    print(number, flush=True)
"""


def test_kills_and_readers_meet_whole_stores(tmp_path):
    path, seen, said = tmp_path / "posterior.zarr", [], []
    command = [sys.executable, "-c", WRITER, __file__, str(path), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "0\n"
        for _ in range(25):
            try:
                seen.append(number_of(read_posterior(path)))
            except UserError as error:
                said.append(str(error))
        writer.kill()
        written = [0, *map(int, writer.stdout.read().split())][-1]
    assert seen == sorted(seen)
    assert all("was replaced since it was opened" in line for line in said)
    assert number_of(read_posterior(path)) in (written, written + 1)
    write_posterior(numbers(0), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["posterior.zarr"]
