"""Stores that images are decoded into once: the same dataset, whole or not there, of these pictures and no others."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

from ppvae.datasets import ImageDataset, RenderedImages, StreamedImages, factor, image_folder, sprites, write_zarr, zarr
from ppvae.datasets import caching as module
from ppvae.errors import UserError


@pytest.fixture(autouse=True)
def blocks(monkeypatch) -> None:
    """Chunks of three pictures, blocks of two chunks."""
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 3 * 4 * 5)
    monkeypatch.setattr(module, "BLOCK_BYTES", 6 * 3 * 4 * 5)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twenty coloured pictures in two folders."""
    random = np.random.default_rng(0)
    for kind in ("cone", "olive"):
        (tmp_path / "shells" / kind).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shells" / kind / f"{number}.png")
    return tmp_path / "shells"


def test_a_written_dataset_is_read_as_the_same(tmp_path):
    data = sprites(size=20, seed=0, image_size=32)
    write_zarr(data, tmp_path / "sprites.zarr")
    again = zarr(tmp_path / "sprites.zarr")
    assert isinstance(again.images, StreamedImages)
    assert torch.equal(again.stored(), data.stored())
    xr.testing.assert_identical(again.factors.drop_attrs(deep=False), data.factors.drop_attrs(deep=False))


def test_files_continuous_factors_real_and_binary_pixels_come_back(tmp_path):
    files = np.array([f"{kind}/{k}.png" for kind in "ab" for k in range(4)])
    table = xr.Dataset(
        {
            "age": ("image", np.repeat([1.0, 2.0], 4)),
            "kind": factor(np.arange(8) // 4, ["a", "b"], long_name="the kind"),
        },
        coords={"file": ("image", files)},
    )
    real = ImageDataset(np.random.default_rng(0).random((8, 1, 4, 4)), table, real=True)
    write_zarr(real, tmp_path / "real.zarr")
    again = zarr(tmp_path / "real.zarr", real=True)
    assert torch.equal(again.stored(), real.stored())
    xr.testing.assert_identical(again.table, real.table)
    assert "levels" not in again.factors["age"].attrs
    binary = ImageDataset((real.stored() > 0.5).to(torch.uint8) * 255)
    write_zarr(binary, tmp_path / "binary.zarr")
    assert zarr(tmp_path / "binary.zarr").kind == "binary"


def test_what_is_there_is_not_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="mine' is there already: remove it"):
        write_zarr(sprites(size=2, image_size=32), tmp_path / "mine")


def test_pictures_are_decoded_once(folder, tmp_path, monkeypatch):
    plain = image_folder(folder, resident=False)
    first = image_folder(folder, resident=False, cache=tmp_path / "cache")
    monkeypatch.setattr("ppvae.datasets.decoded.DecodedImages._fill", None)  # nothing is decoded from here on
    for data in (first, image_folder(folder, resident="auto", cache=tmp_path / "cache")):
        assert data.description == plain.description
        assert torch.equal(data.stored(), image_folder(folder, cache=tmp_path / "cache").stored())
        xr.testing.assert_identical(data.table, plain.table)
    part = image_folder(folder, size=5, seed=1, cache=tmp_path / "cache")
    assert torch.equal(part.stored(), first.stored(part.table["image"].values))
    alone = zarr(*(tmp_path / "cache").iterdir())
    assert alone.files.tolist() == plain.files.tolist()
    assert alone.factors["label"].attrs["values"] == ["cone", "olive"]
    monkeypatch.undo()
    assert torch.equal(first.stored(), plain.stored())


CHANGES = {
    "another name": lambda folder: (folder / "olive" / "9.png").rename(folder / "olive" / "ten.png"),
    "another picture of the same name": lambda folder: shutil.copy(folder / "cone/0.png", folder / "olive/0.png"),
    "fewer": lambda folder: (folder / "olive" / "9.png").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_pictures_have_another_store(change, folder, tmp_path):
    image_folder(folder, cache=tmp_path / "cache")
    CHANGES[change](folder)
    assert torch.equal(image_folder(folder, cache=tmp_path / "cache").stored(), image_folder(folder).stored())
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_pictures_read_otherwise_have_another_store(folder, tmp_path):
    small = {"image_size": 4}
    ways = [{}, {"real": True}, {"channels": 1}, *({**small, "fit": fit} for fit in ("crop", "pad", "stretch"))]
    ways += [{**small, "fit": "pad", "background": "red"}]
    ways += [{**small, "transforms": [{"CenterCrop": {"size": side}}]} for side in (2, 4)]
    for number, how in enumerate(ways):
        for _ in range(2):
            found = image_folder(folder, cache=tmp_path / "cache", **how)
            assert torch.equal(found.stored(), image_folder(folder, **how).stored())
        assert len(list((tmp_path / "cache").iterdir())) == number + 1


def test_a_store_of_something_else_in_its_place_is_refused(folder, tmp_path):
    image_folder(folder, cache=tmp_path / "cache")
    (store,) = (tmp_path / "cache").iterdir()
    shutil.rmtree(store)
    write_zarr(sprites(size=2, image_size=32), store)
    with pytest.raises(UserError, match=r"zarr' is not made of shells, 20 × 3 × 4 × 5 bytes, .*: remove it"):
        image_folder(folder, cache=tmp_path / "cache")


class Killed(BaseException):
    """As sudden as a kill."""


@pytest.mark.parametrize("error", [Killed, UserError])
def test_what_ends_half_way_leaves_nothing(error, tmp_path):
    def render(positions):
        if 13 in positions:
            raise error("13 brings bad luck")
        return torch.full((len(positions), 3, 4, 5), 7, dtype=torch.uint8)

    data = ImageDataset(RenderedImages(render, torch.arange(20), (3, 4, 5)))
    with pytest.raises(error):
        write_zarr(data, tmp_path / "x.zarr")
    assert not list(tmp_path.iterdir())


def test_two_processes_may_decode_at_once(folder, tmp_path):
    """The first to end has its store kept; the other reads it."""
    from ppvae.datasets import DecodedImages

    first, entered = [], []
    fill = DecodedImages._fill

    def overtaken(self, pixels, files):
        if not entered:
            entered.append(True)
            first.append(image_folder(folder, resident=False, cache=tmp_path / "cache"))
            first.append({file: file.stat().st_ino for file in (tmp_path / "cache").glob("shells_*/images/c/**/0")})
        fill(self, pixels, files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DecodedImages, "_fill", overtaken)
        second = image_folder(folder, resident=False, cache=tmp_path / "cache")
    assert {file: file.stat().st_ino for file in (tmp_path / "cache").glob("shells_*/images/c/**/0")} == first[1]
    assert torch.equal(second.stored(), first[0].stored())


def test_a_flipped_byte_is_noticed(tmp_path):
    write_zarr(sprites(size=8, image_size=32), tmp_path / "x.zarr")
    data = zarr(tmp_path / "x.zarr")
    chunk = tmp_path / "x.zarr" / "images" / "c" / "4" / "0" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(UserError, match=r"images' cannot be read as Zarr store"):
        data.stored()
