"""Shards: samples of .tar archives as pictures and factors, shuffled and resumed like files, and what is wrong."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ppvae.datasets import DecodedImages, shards, zarr
from ppvae.errors import UserError
from ppvae.svi.batches import Batches

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
NAMES = ["cone", "olive", "cowry"]


def png(pixels: np.ndarray) -> bytes:
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def sample(number: int) -> dict[str, bytes]:
    described = {"age": number / 7, "kind": NAMES[number % 3], "notes": ["none"]}
    return {"png": png(PIXELS[number]), "cls": str(number % 3).encode(), "json": json.dumps(described).encode()}


def write(path: Path, samples: dict[str, dict[str, bytes]], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for key, members in samples.items():
            for ending, content in members.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three shards of four samples."""
    (tmp_path / "shells").mkdir()
    for shard in range(3):
        write(tmp_path / "shells" / f"{shard}.tar", {f"{k:03}": sample(k) for k in range(4 * shard, 4 * shard + 4)})
    return tmp_path / "shells"


@pytest.mark.parametrize("resident", [True, False])
def test_samples_are_pictures_with_factors(resident, folder, caplog):
    data = shards(folder, resident=resident)
    assert torch.equal(data.stored(), torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    assert isinstance(data.images, DecodedImages) is not resident
    assert data.name == "shells"
    assert data.files[[0, 11]].tolist() == ["0.tar/000.png", "2.tar/011.png"]
    assert data.factors["label"].values.tolist() == [k % 3 for k in range(12)]
    assert data.factors["kind"].attrs["values"] == sorted(NAMES)
    assert data.factors["age"].values.tolist() == [k / 7 for k in range(12)]
    assert set(data.factors) == {"label", "kind", "age"}
    assert "not used: notes, expected a number or text in each sample" in caplog.text


def test_an_archive_or_a_pattern_will_do(folder):
    assert len(shards(folder / "1.tar")) == 4
    assert shards(folder / "[02].tar").files[4] == "2.tar/008.png"


def test_classes_may_be_text_and_samples_in_folders(tmp_path):
    write(tmp_path / "x.tar", {f"{NAMES[k]}/a.b": {"png": png(PIXELS[k]), "cls": NAMES[k].encode()} for k in range(3)})
    with pytest.raises(UserError, match="has no picture"):  # the key ends at the first dot: the ending is b.png
        shards(tmp_path / "x.tar")
    write(tmp_path / "x.tar", {f"{NAMES[k]}/a": {"png": png(PIXELS[k]), "cls": NAMES[k].encode()} for k in range(3)})
    data = shards(tmp_path / "x.tar")
    assert data.factors["label"].attrs["values"] == ["cone", "cowry", "olive"]
    assert data.files.tolist() == [f"x.tar/{name}/a.png" for name in NAMES]


def test_an_epoch_is_that_of_the_same_images_in_memory_from_any_step_on(folder):
    streamed, held = (shards(folder, resident=resident).images for resident in (False, True))
    for rank in range(2):
        one, other = (Batches(images, 4, 0, torch.device("cpu"), rank, 2) for images in (streamed, held))
        for start in range(3):
            for (first,), (second,) in zip(one.epoch(1, start), other.epoch(1, start), strict=True):
                assert torch.equal(first, second)


def test_pictures_are_decoded_once_into_a_cache(folder, tmp_path):
    expected = shards(folder)
    shards(folder, cache=tmp_path / "cache")
    found = zarr(*(tmp_path / "cache").iterdir())
    assert torch.equal(found.stored(), expected.stored())
    assert found.table.drop_attrs().identical(expected.table.drop_attrs())


def cut(folder):
    path = folder / "1.tar"
    path.write_bytes(path.read_bytes()[:1900])


def squeezed(folder):
    write(folder / "1.tar", {"a": sample(0)}, "w:gz")


def two_pictures(folder):
    write(folder / "1.tar", {"a": {"png": png(PIXELS[0]), "jpg": b""}})


def no_picture(folder):
    write(folder / "1.tar", {"a": {"cls": b"0"}})


def empty(folder):
    write(folder / "1.tar", {})


def another_shape(folder):
    write(folder / "1.tar", {"a": {"png": png(PIXELS[0][:2])}})


def no_object(folder):
    write(folder / "1.tar", {"a": {"png": png(PIXELS[0]), "json": b"[1]"}})


def gone(folder):
    for path in folder.iterdir():
        path.unlink()


WRONG = {
    r"1\.tar' cannot be read as shard": cut,
    r"1\.tar' cannot be read as shard \(.*give uncompressed": squeezed,
    r"'a\.png' and 'a\.jpg' share a sample": two_pictures,
    r"the sample 'a' has no picture of jpg": no_picture,
    r"1\.tar' holds no files": empty,
    r"1\.tar/a\.png#512.*fit": another_shape,
    r"1\.tar/a\.json#.*it holds list, expected an object": no_object,
    r"no shards at": gone,
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_wrong_is_said_in_one_line(said, folder):
    WRONG[said](folder)
    with pytest.raises(UserError, match=said) as caught:
        shards(folder)
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_cut_later_is_noticed(folder):
    data = shards(folder, resident=False)
    cut(folder)
    with pytest.raises(UserError, match=r"1\.tar/00.\.png#.* is shorter than when it was opened"):
        data.stored()
