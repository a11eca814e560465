"""The dSprites loader on small files of the published format, sound and broken."""

import itertools

import numpy as np
import pytest
import torch

from ppvae.datasets import dsprites
from ppvae.errors import UserError

BASES = (1, 3, 2, 2, 2, 2)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """A full grid of 1 × 3 × 2 × 2 × 2 × 2 images, keyed as published, with the pickled metadata."""
    classes = np.array(list(itertools.product(*map(range, BASES))), dtype=np.int64)
    values = np.stack([1 + classes[:, 0], 1 + classes[:, 1], *(classes[:, 2:] / 7).T], 1).astype(np.float64)
    images = np.random.default_rng(0).integers(0, 2, (len(classes), 64, 64), dtype=np.uint8)
    bases = np.array([48, 16, 8, 4, 2, 1])
    metadata = np.array({"unsafe": print}, dtype=object)
    return {"imgs": images, "latents_values": values, "latents_classes": classes, "latents_bases": bases} | {
        "metadata": metadata
    }


def write(path, arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_images_and_factors(tmp_path, arrays):
    data = dsprites(write(tmp_path / "d.npz", arrays))
    assert data.image_shape == (1, 64, 64)
    assert torch.equal(data.images[:], torch.from_numpy(arrays["imgs"][:, None]).float())
    assert set(data.stored().unique().tolist()) == {0, 255}
    assert list(data.factors.data_vars) == ["shape", "scale", "orientation", "posX", "posY"]
    for k, name in enumerate(data.factors.data_vars, start=1):
        column = data.factors[name]
        np.testing.assert_array_equal(column, arrays["latents_classes"][:, k])
        np.testing.assert_array_equal(np.array(column.attrs["values"])[column], arrays["latents_values"][:, k])
        assert column.attrs["levels"] == BASES[k]
    assert data.factors["orientation"].attrs["units"] == "radian"
    assert data.to_xarray().attrs["title"] == "dSprites"


def test_metadata_is_never_read(tmp_path, arrays):
    """The pickle in the file would fail to load: its bytes are not a pickle at all."""
    path = write(tmp_path / "d.npz", arrays | {"metadata": np.array([1])})
    assert len(dsprites(path)) == 48


def test_a_shortened_file_keeps_its_levels(tmp_path, arrays):
    kept = arrays["latents_classes"][:, 1] != 1
    short = {
        name: array[kept] if name[:3] in ("img", "lat") and len(array) == 48 else array
        for name, array in arrays.items()
    }
    shape = dsprites(write(tmp_path / "d.npz", short)).factors["shape"]
    assert shape.attrs["levels"] == 3
    np.testing.assert_array_equal(shape.attrs["values"], [1, np.nan, 3])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"imgs": np.zeros((48, 64, 64), dtype=np.int64)}, "imgs is int64"),
        ({"imgs": np.zeros((48, 32, 32), dtype=np.uint8)}, r"imgs is uint8 \(48, 32, 32\)"),
        ({"imgs": np.zeros((0, 64, 64), dtype=np.uint8)}, "at least one image"),
        ({"imgs": np.full((48, 64, 64), 255, dtype=np.uint8)}, "reaches 255"),
        ({"imgs": np.array(None)}, "no array imgs"),
        ({"latents_values": np.zeros((48, 5))}, "latents_values"),
        ({"latents_values": np.full((48, 6), np.nan)}, "non-finite"),
        ({"latents_classes": np.zeros((48, 6))}, "latents_classes is float64"),
        ({"latents_classes": np.zeros((47, 6), dtype=np.int64)}, r"expected integer \(48, 6\)"),
        ({"latents_classes": np.full((48, 6), -1)}, "negative"),
    ],
)
def test_wrong_arrays_name_the_path_and_the_remedy(tmp_path, arrays, change, match):
    path = write(tmp_path / "d.npz", arrays | change)
    with pytest.raises(UserError, match=match) as caught:
        dsprites(path)
    assert str(path) in str(caught.value)
    assert "deepmind/dsprites-dataset" in str(caught.value)
    assert "\n" not in str(caught.value)


def _truncated(path, arrays):
    whole = write(path, arrays).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _flipped(path, arrays):
    whole = bytearray(write(path, arrays).read_bytes())
    whole[3000:4000] = bytes(1000)
    path.write_bytes(whole)


def _bare(path, arrays):
    with path.open("wb") as file:
        np.save(file, arrays["imgs"])


BROKEN = {
    "truncated": _truncated,
    "flipped": _flipped,
    "empty": lambda path, _: path.write_bytes(b""),
    "text": lambda path, _: path.write_text("not an archive"),
    "folder": lambda path, _: path.mkdir(),
    "npy": _bare,
    "missing key": lambda path, arrays: write(path, {"imgs": arrays["imgs"]}),
    "missing file": lambda *_: None,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_end_in_one_line(tmp_path, arrays, kind):
    path = tmp_path / "d.npz"
    BROKEN[kind](path, arrays)
    with pytest.raises(UserError, match="deepmind/dsprites-dataset") as caught:
        dsprites(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
