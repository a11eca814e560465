"""Zarr stores: groups and arrays of both formats, their factors, and what is wrong with them, in one line."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
import zarr

from ppvae.datasets import StoredImages, StreamedImages
from ppvae.datasets import zarr as opened
from ppvae.datasets import zarr_stores as module
from ppvae.errors import UserError

PIXELS = np.random.default_rng(0).integers(1, 256, (30, 3, 8, 5), dtype=np.uint8)
LABELS = np.arange(30) % 4

FORMATS = {
    "chunks": {"chunks": (7, 3, 8, 5)},
    "one image a chunk": {"chunks": (1, 3, 8, 5)},
    "split images": {"chunks": (8, 1, 4, 5)},
    "shards": {"chunks": (2, 3, 8, 5), "shards": (8, 3, 8, 5)},
    "raw": {"chunks": (10, 3, 8, 5), "compressors": None},
    "format 2": {"chunks": (7, 3, 8, 5), "zarr_format": 2},
}


def written(path, *, pixels=PIXELS, **how):
    how = {"chunks": (7, *pixels.shape[1:])} | how
    zarr.create_array(path, data=pixels, **how)
    return path


@pytest.fixture
def group(tmp_path):
    root = zarr.create_group(tmp_path / "cells.zarr")
    root.create_array("images", data=PIXELS, chunks=(7, 3, 8, 5))
    root.create_array("labels", data=LABELS)
    root.create_array("age", data=LABELS / 3 + np.arange(30))
    root.create_array("masks", data=PIXELS[:, 0])
    return tmp_path / "cells.zarr"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_images(name, tmp_path):
    data = opened(written(tmp_path / "x.zarr", **FORMATS[name]))
    assert torch.equal(data.stored(), torch.from_numpy(PIXELS))
    assert torch.equal(data.stored([29, 3, 3]), torch.from_numpy(PIXELS[[29, 3, 3]]))
    assert data.images.array.chunk == FORMATS[name]["chunks"][0]
    again = pickle.loads(pickle.dumps(data.images))  # as processes that load batches are sent it
    assert torch.equal(again.stored([5]), data.stored([5]))


def test_a_groups_arrays_are_factors(group, caplog):
    data = opened(group)
    assert data.name == "cells"
    assert data.factors["label"].values.tolist() == LABELS.tolist()
    assert data.factors["label"].attrs["levels"] == 4
    assert "levels" not in data.factors["age"].attrs
    assert "'masks', expected numbers, text or booleans (30,)" in caplog.text
    assert data.subset([4, 2]).factors["label"].values.tolist() == [0, 2]
    assert torch.equal(opened(group, images="masks").stored()[:, 0], torch.from_numpy(PIXELS[:, 0]))


@pytest.mark.parametrize("kind", [str, bool, "int16"])
def test_text_and_booleans_are_levels(kind, tmp_path):
    root = zarr.create_group(tmp_path / "x.zarr")
    root.create_array("images", data=PIXELS)
    names = np.array(["", "cowry", ""])[np.arange(30) % 3] if kind is str else np.arange(30) % 3 == 1
    root.create_array("shape", shape=30, dtype=kind, config={"write_empty_chunks": True})[:] = names
    factor = opened(tmp_path / "x.zarr").factors["shape"]
    assert factor.values.tolist() == (np.arange(30) % 3 == 1).astype(int).tolist()
    assert factor.attrs["levels"] == 2


def test_images_may_be_read_at_once(group):
    assert isinstance(opened(group).images, StreamedImages)
    for resident in (True, "auto"):
        data = opened(group, resident=resident)
        assert isinstance(data.images, StoredImages)
        assert torch.equal(data.stored(), torch.from_numpy(PIXELS))


def test_size_takes_a_part(group):
    data = opened(group, size=8, seed=3)
    assert len(data) == 8
    assert torch.equal(data.stored(), torch.from_numpy(PIXELS[data.table["image"].values]))


def test_what_a_store_says_of_zeros_and_255_is_taken(tmp_path):
    path = written(tmp_path / "x.zarr", pixels=PIXELS // 128 * np.uint8(255))
    assert opened(path).kind == "8-bit"
    zarr.open_array(path).attrs[module.BINARY] = True
    assert opened(path).kind == "binary"


def lost(path):
    (path / "images" / "c" / "2" / "0" / "0" / "0").unlink()


def cut(path):
    chunk = path / "images" / "c" / "2" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])


def garbled(path):
    (path / "images" / "zarr.json").write_text("{")


def emptied(path):
    shutil.rmtree(path)
    path.mkdir()


DAMAGES = {
    r"lacks 1 of its chunks, c/2/0/0/0 the first": lost,
    r"images' cannot be read as Zarr store \(": cut,
    r"cells\.zarr' cannot be read as Zarr store \(.*give a folder": garbled,
    r"no Zarr store at '.*cells\.zarr': give a folder": emptied,
    r"no Zarr store at .*: give": shutil.rmtree,
}


@pytest.mark.parametrize("said", DAMAGES)
def test_a_damaged_store_is_refused_in_one_line(said, group):
    DAMAGES[said](group)
    with pytest.raises(UserError, match=said) as caught:
        opened(group).stored()
    assert "\n" not in str(caught.value)


def test_a_lost_shard_is_missed(tmp_path):
    path = written(tmp_path / "x.zarr", **FORMATS["shards"])
    (path / "c" / "1" / "0" / "0" / "0").unlink()
    with pytest.raises(UserError, match="lacks 1 of its chunks, c/1/0/0/0 the first"):
        opened(path)


@pytest.mark.parametrize("name", ["chunks", "shards", "format 2"])
def test_a_chunk_that_is_lost_later_is_not_read_as_zeros(name, tmp_path):
    data = opened(path := written(tmp_path / "x.zarr", **FORMATS[name]))
    (path / ("2.0.0.0" if name == "format 2" else "c/2/0/0/0")).unlink()
    assert len(data.stored([0])) == 1
    with pytest.raises(UserError, match=r"2.0.0.0' of .*x\.zarr' was lost since"):
        data.stored()


def test_lost_labels_are_missed(group):
    shutil.rmtree(group / "labels" / "c")
    with pytest.raises(UserError, match=r"labels' lacks 1 of its chunks"):
        opened(group)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"images": "pictures"}, r"no array images='pictures': name one of .*images"),
        ({"labels": "kinds"}, r"no array labels='kinds'"),
        ({"labels": "masks"}, r"no array labels='masks' of 30 labels"),
        ({"images": "labels"}, r"int64 of shape \(30,\): expected images"),
        ({"size": 31}, r"size=31 is more than the 30 images"),
        ({"resident": "no"}, r"resident='no': expected"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, said, group):
    with pytest.raises(UserError, match=said):
        opened(group, **options)


def test_a_number_is_no_images(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=np.array(3), config={"write_empty_chunks": True})
    with pytest.raises(UserError, match=r"int64 of shape \(\): expected images"):
        opened(tmp_path / "x.zarr")


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "x.zarr").write_text("images")
    with pytest.raises(UserError, match="no Zarr store at"):
        opened(tmp_path / "x.zarr")


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_nothing_is_unpickled(place, tmp_path):
    path = written(tmp_path / "x.zarr", **FORMATS["format 2"])
    metadata = json.loads((path / ".zarray").read_text())
    metadata[place] = {"id": "pickle"} if place == "compressor" else [{"id": "pickle"}]
    (path / ".zarray").write_text(json.dumps(metadata))
    for chunk in path.glob("*.*.*.*"):
        chunk.write_bytes(pickle.dumps(Bomb(tmp_path / "unpickled")))
    with pytest.raises(UserError, match="pickle"):
        opened(path).stored()
    assert not (tmp_path / "unpickled").exists()


def test_chunks_that_do_not_fit_into_memory_are_refused(group, monkeypatch):
    monkeypatch.setattr("ppvae.memory.available_memory", lambda: 7 * 120 * 10 - 1)
    with pytest.raises(UserError, match=r"reading chunks of 7 images needs 8\.2 KiB"):
        opened(group)
