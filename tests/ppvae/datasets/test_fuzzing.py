"""Any bytes where a data set should be: one line or a data set, nothing else, nothing written."""

import contextlib
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from experiments.benchmarks.odd_pictures import png
from ppvae.datasets import image_folder, mnist, npz
from ppvae.datasets.joining import joined
from ppvae.errors import UserError

FUZZ = settings(
    derandomize=True, max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LONG = settings(FUZZ, max_examples=5000)
GREY = np.arange(4 * 36, dtype=np.uint8).reshape(4, 6, 6)

PIECES = [
    b"\x00",
    b"\xff\xff\xff\xff",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\x93NUMPY",
    b"'descr'",
    b"|O",
    b"(-1,)",
    b"IDAT",
]
PIECES += [b"\x7f\xff\xff\xff", b"../", b"\x80\x02c", b"IHDR", b"IEND", b"9999999999"]


def archive(compressed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, images=GREY, labels=np.arange(4))
    return file.getvalue()


def picture(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GREY[0]).save(file, form)
    return file.getvalue()


def load_npz(folder: Path, content: bytes) -> None:
    (folder / "x.npz").write_bytes(content)
    assert len(npz(folder / "x.npz")) >= 1


def load_image(folder: Path, content: bytes) -> None:
    (folder / "x.png").write_bytes(content)
    assert image_folder(folder, image_size=4, fit="stretch", channels=3).stored().shape == (1, 3, 4, 4)


def load_deep(folder: Path, content: bytes) -> None:
    (folder / "x.png").write_bytes(content)
    found = image_folder(folder, image_size=4, fit="pad", real=True, background="white").stored()
    assert 0 <= found.min() <= found.max() <= 1


def load_zip(folder: Path, content: bytes) -> None:
    (folder / "x.zip").write_bytes(content)
    assert len(image_folder(folder / "x.zip", image_size=4, fit="crop")) >= 1


def load_table(folder: Path, content: bytes) -> None:
    (folder / "l.csv").write_bytes(content)
    rows, factors = joined([f"{number}.png" for number in range(4)], folder / "l.csv")
    assert rows.tolist() == [0, 1, 2, 3]
    assert all(values.shape == (4,) for values in factors.values())


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", picture("PNG"))
        archive.writestr("b/2.jpg", picture("JPEG"))
    return file.getvalue()


def load_idx(folder: Path, content: bytes) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (raw / name).write_bytes(content)
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"):
        (raw / name).write_bytes(struct.pack(">II", 0x801, 2) + bytes(2))
    assert len(mnist(root=str(folder))) == 2


SOUND: dict[str, tuple[Callable[[Path, bytes], None], bytes]] = {
    "npz, stored": (load_npz, archive(False)),
    "npz, compressed": (load_npz, archive(True)),
    "PNG": (load_image, picture("PNG")),
    "JPEG": (load_image, picture("JPEG")),
    "TIFF": (load_image, picture("TIFF")),
    "WebP": (load_image, picture("WEBP")),
    "GIF": (load_image, picture("GIF")),
    "PNG of 16 bits": (load_deep, png(np.arange(6 * 6 * 4).reshape(6, 6, 4) * 400, 6)),
    "zip": (load_zip, zipped()),
    "CSV": (load_table, b"file,a,b\n" + b"".join(b"%d.png,%d,0.%d\n" % (n, n % 2, n) for n in range(4))),
    "idx": (load_idx, struct.pack(">IIII", 0x803, 2, 28, 28) + bytes(2 * 784)),
}


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few pieces replaced, doubled or left out, or its end cut off."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
        stop = start + draw(st.sampled_from([0, len(piece), 40]))
        content = content[:start] + piece + content[stop:]
    return content[: draw(st.just(len(content)) | st.integers(0, len(content)))]


def ends_in_one_line(folder: Path, load: Callable[[Path, bytes], None], content: bytes) -> None:
    said = str(folder)
    with contextlib.suppress(UserError):
        try:
            load(folder, content)
        except UserError as error:
            said = str(error)
            raise
    assert str(folder) in said
    assert "\n" not in said
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("kind", SOUND)
def test_the_sound_files_load(tmp_path, kind):
    load, content = SOUND[kind]
    load(tmp_path, content)


@pytest.mark.parametrize("kind", SOUND)
def test_mutated_files(tmp_path, kind):
    load, content = SOUND[kind]

    @FUZZ
    @given(mutations(content) | st.binary(max_size=200))
    def check(mutated: bytes) -> None:
        ends_in_one_line(tmp_path, load, mutated)

    check()


@pytest.mark.long
@pytest.mark.parametrize("kind", SOUND)
def test_many_mutated_files(tmp_path, kind):
    load, content = SOUND[kind]

    @LONG
    @given(mutations(content) | st.binary(max_size=2000))
    def check(mutated: bytes) -> None:
        ends_in_one_line(tmp_path, load, mutated)

    check()


@FUZZ
@given(st.text(max_size=300), st.booleans())
def test_any_header_of_an_array(tmp_path, header, short):
    """What NumPy would parse as a Python literal."""
    text = header.encode("latin1", "replace")
    length = b"\x01\x00" + struct.pack("<H", len(text)) if short else b"\x02\x00" + struct.pack("<I", len(text))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("images.npy", b"\x93NUMPY" + length + text)
    ends_in_one_line(tmp_path, load_npz, file.getvalue())
