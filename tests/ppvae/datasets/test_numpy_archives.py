"""NumPy archives: only what is asked for is read, only what fits, and checksums count."""

import io
import zipfile

import numpy as np
import pytest

import ppvae.memory
from ppvae.datasets import npz
from ppvae.datasets.numpy_archives import numpy_archive
from ppvae.errors import UserError

IMAGES = np.arange(8 * 64 * 64, dtype=np.uint32).astype(np.uint8).reshape(8, 64, 64)


@pytest.fixture
def little_memory(monkeypatch) -> None:
    monkeypatch.setattr(ppvae.memory, "available_memory", lambda: 2 * IMAGES.nbytes)


def test_headers_tell_shapes_and_reading_gives_the_arrays(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", images=IMAGES, weights=np.asfortranarray(np.ones((3, 2))))
    with numpy_archive(tmp_path / "x.npz", "archive", "give another") as archive:
        assert {name: header.shape for name, header in archive.items()} == {"images": (8, 64, 64), "weights": (3, 2)}
        assert archive["weights"].nbytes == 48
        arrays = archive.read(["images", "weights"])
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    np.testing.assert_array_equal(arrays["weights"], np.ones((3, 2)))


@pytest.mark.usefixtures("little_memory")
def test_what_is_not_asked_for_is_never_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", images=IMAGES, bomb=np.zeros(2**20))
    assert len(npz(tmp_path / "x.npz")) == 8
    with pytest.raises(UserError, match=r"bomb needs 16\.0 MiB of memory, 64\.0 KiB are left"):
        npz(tmp_path / "x.npz", images="bomb")


def test_a_flipped_bit_is_noticed(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES)
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match="Bad CRC-32"):
        npz(tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["../images.npy", "/images.npy", "a/../../images.npy", "..\\images.npy"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    file = io.BytesIO()
    np.save(file, IMAGES)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr(name, file.getvalue())
    with pytest.raises(UserError, match="leads out of the archive"):
        npz(tmp_path / "x.npz")
