""".npy files: the same images as in memory, read by their places, and what is wrong with files, in one line."""

import numpy as np
import pytest
import torch

from ppvae.datasets import StoredImages, npy
from ppvae.errors import UserError

PIXELS = np.random.default_rng(0).integers(1, 256, (30, 3, 8, 5), dtype=np.uint8)


def saved(path, array=PIXELS):
    np.save(path, array)
    return path


@pytest.mark.parametrize("kind", [np.uint8, ">u1", np.float32, ">f8"])
def test_a_file_holds_the_same_images(kind, tmp_path):
    array = PIXELS.astype(kind) / (1 if np.dtype(kind).kind == "u" else 255)
    data = npy(saved(tmp_path / "cells.npy", array.astype(kind)))
    assert data.name == "cells"
    for index in (slice(None), [29, 3, 3, 4, -1], slice(4, 20, 5), []):
        assert torch.equal(data.stored(index), torch.from_numpy(PIXELS)[index])


def test_a_memory_map_that_was_filled_is_such_a_file(tmp_path):
    held = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(30, 8, 5, 3))
    held[:] = np.moveaxis(PIXELS, 1, -1)
    held.flush()
    assert torch.equal(npy(tmp_path / "x.npy").stored(), torch.from_numpy(PIXELS))


def test_labels_come_from_another_file(tmp_path):
    names = np.array(["cone", "olive", "cowry"])[np.arange(30) % 3]
    data = npy(saved(tmp_path / "x.npy"), labels=saved(tmp_path / "y.npy", names))
    assert data.factors["label"].attrs["values"] == ["cone", "cowry", "olive"]
    assert data.factors["label"].values[:3].tolist() == [0, 2, 1]
    with pytest.raises(UserError, match=r"factor 'label' has shape \(29,\)"):
        npy(tmp_path / "x.npy", labels=saved(tmp_path / "y.npy", names[1:]))


def test_images_may_be_read_at_once(tmp_path):
    data = npy(saved(tmp_path / "x.npy"), resident="auto")
    assert isinstance(data.images, StoredImages)
    assert torch.equal(data.stored(), torch.from_numpy(PIXELS))


def test_an_order_is_a_permutation_of_single_images(tmp_path, monkeypatch):
    monkeypatch.setattr("ppvae.datasets.streamed.WINDOW_BYTES", 4 * PIXELS[0].size)
    order, windows = npy(saved(tmp_path / "x.npy")).images.shuffled(torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(30))
    assert windows.bincount().tolist() == [4] * 7 + [2]


WRONG = {
    "pickled": np.array([[[None]]]),
    "Fortran order": np.asfortranarray(PIXELS),
    "int64": PIXELS.astype(np.int64),
    "expected images": PIXELS[0, 0],
    "at least one image": PIXELS[:0],
}


@pytest.mark.parametrize("said", WRONG)
def test_what_holds_no_images_is_refused_in_one_line(said, tmp_path):
    with pytest.raises(UserError, match=said) as caught:
        npy(saved(tmp_path / "x.npy", WRONG[said]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda found: found[:-7], lambda found: found + b"more", lambda _: b"\x93NUMPY"])
def test_a_file_of_another_length_is_refused(change, tmp_path):
    path = saved(tmp_path / "x.npy")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"x\.npy' cannot be read as \.npy file"):
        npy(path)


def test_a_file_that_is_cut_later_is_refused_when_it_is_read(tmp_path):
    data = npy(path := saved(tmp_path / "x.npy"))
    path.write_bytes(path.read_bytes()[:-200])
    assert len(data.stored([0])) == 1
    with pytest.raises(UserError, match="it is shorter than when it was opened"):
        data.stored()


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"no \.npy file at"):
        npy(tmp_path / "x.npy")
