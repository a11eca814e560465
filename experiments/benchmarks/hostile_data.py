"""Data sets that hold up, fill up or take over whoever reads them."""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ppvae.datasets import binarised_mnist, celeba, dsprites, image_folder, mnist, npz

from .hostile_nodes import NODES, sparse

__all__ = ["AMATS", "ARCHIVES", "FOLDERS", "PUBLISHED", "load_amat", "load_archive", "load_folder", "load_published"]

type Make = Callable[[Path], object]

GREY = np.arange(12 * 36, dtype=np.uint32).astype(np.uint8).reshape(12, 6, 6)


class Trap:
    """Whoever unpickles this has run a program."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch owned",)


# NumPy archives


def _npy(shape: str, dtype: str = "|u1", data: bytes = b"") -> bytes:
    """A version 1.0 member with a header as written."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _member(content: bytes, name: str = "images.npy", compression: int = zipfile.ZIP_DEFLATED) -> Make:
    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / "x.npz", "w", compression) as archive:
            archive.writestr(name, content)

    return make


def _bomb(folder: Path) -> None:
    """Zeros of 2.5 GiB in 2.5 MB."""
    zeros = bytes(2**24)
    with (
        zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):
        file.write(_npy(f"({160 * 2**12}, 64, 64)"))
        for _ in range(160):
            file.write(zeros)


def _made(make: Callable[[Path], object], name: str, folder: Path) -> None:
    """A thing that is no file, under a file's name."""
    make(folder / name)


def _patched(before: bytes, after: bytes) -> Make:
    """A sound archive with some bytes of its directory replaced."""

    def make(folder: Path) -> None:
        np.savez(folder / "x.npz", images=GREY)
        content = (folder / "x.npz").read_bytes()
        start = content.rindex(before)
        (folder / "x.npz").write_bytes(content[:start] + after + content[start + len(after) :])

    return make


def _cut(folder: Path) -> None:
    np.savez(folder / "x.npz", images=GREY)
    os.truncate(folder / "x.npz", 400)


def _dsprites(folder: Path) -> None:
    classes = np.full((2, 6), 2**60)
    np.savez(folder / "dsprites.npz", imgs=GREY[:2, :1, :1].repeat(64, 1).repeat(64, 2) & 1, latents_classes=classes)
    with np.load(folder / "dsprites.npz") as archive:
        np.savez(folder / "dsprites.npz", **archive, latents_values=classes.astype(float))


SIZES = struct.pack("<L", GREY.size + 128)

ARCHIVES: dict[str, Make] = {
    **{f"it is {name}": partial(_made, make, "x.npz") for name, make in NODES.items()},
    "zeros, 2.5 GiB of 2.5 MB": _bomb,
    "a shape of 10^13 images": _member(_npy("(10000000000000, 64, 64)")),
    "a negative shape": _member(_npy("(-1, 64, 64)")),
    "a shape of 5 000 brackets": _member(_npy("(" * 5000 + ")" * 5000)),
    "pickled objects": lambda folder: np.savez(folder / "x.npz", images=np.array([Trap()], dtype=object)),
    "a name that leads out": _member(_npy("(1,)", data=b"0"), "../../images.npy"),
    "a name from the root": _member(_npy("(1,)", data=b"0"), "/etc/images.npy"),
    "another compression": _member(_npy("(1,)", data=b"0"), compression=zipfile.ZIP_LZMA),
    "cut off": _cut,
    "a size that is a lie": _patched(SIZES, b"\xff\xff\xff\x7f"),
    "an encrypted member": _patched(b"PK\x01\x02\x2d\x03\x2d\x00\x00\x00", b"PK\x01\x02\x2d\x03\x2d\x00\x01\x00"),
    "levels up to 2^60": _dsprites,
}


def load_archive(folder: Path) -> object:
    path = folder / "dsprites.npz"
    return dsprites(path) if path.exists() else npz(folder / "x.npz")


# Folders of images


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, data: bytes = b"") -> Make:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), *chunks, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return lambda folder: (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _saved(name: str, form: str) -> Make:
    return lambda folder: Image.fromarray(GREY[0]).save(folder / name, form)


def _circle(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("c", "d"):
        (folder / "a" / "b" / name).symlink_to(folder / "a")


def _doubling(folder: Path) -> None:
    """Twenty folders with two links to the next: 2^20 ways to the last."""
    for k in range(20):
        (folder / "class" / f"{k}").mkdir(parents=True)
        for name in ("a", "b"):
            (folder / "class" / f"{k}" / name).symlink_to(folder / "class" / f"{k + 1}")
    (folder / "class" / "20").mkdir()


def _many(folder: Path) -> None:
    for k in range(100_000):
        os.close(os.open(folder / f"{k:06}.png", os.O_CREAT | os.O_WRONLY))


def _unprintable(folder: Path) -> None:
    where = os.path.join(os.fsencode(folder), b"\xff\n")
    os.mkdir(where)
    with open(os.path.join(where, b"x.png"), "wb") as file:
        Image.fromarray(GREY[0]).save(file, "PNG")


TEXT = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**28), 1))

FOLDERS: dict[str, Make] = {
    **{f"an image is {name}": partial(_made, make, "x.png") for name, make in NODES.items()},
    "10^5 empty images": _many,
    "10^5 × 10^5 pixels declared": _png(100_000, 100_000),
    "9 000 × 9 000 pixels of nothing": _png(9_000, 9_000, data=zlib.compress(bytes(9_001 * 9_000), 1)),
    "a text of 256 MiB in an image": _png(6, 6, TEXT, data=zlib.compress(bytes(42))),
    "no rows": _png(6, 0),
    "PostScript by another name": _saved("x.png", "EPS"),
    "an image cut off": lambda folder: (folder / "x.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(64)),
    "folders in a circle": _circle,
    "2^20 ways to a folder": _doubling,
    "a label that is no text": _unprintable,
    "a name of two lines": lambda folder: (folder / "a\nb.png").write_bytes(b"?"),
}


def load_folder(folder: Path) -> object:
    return image_folder(folder, image_size=8)


# Published sets


def _idx(shape: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    return struct.pack(f">I{len(shape)}I", kind * 256 + len(shape), *shape) + data


def _mnist(images: bytes | None = None, labels: bytes | None = None) -> Make:
    def make(folder: Path) -> None:
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        sound = _idx((3, 28, 28), bytes(3 * 784)), _idx((3,), bytes(3))
        for split in ("train", "t10k"):
            (raw / f"{split}-images-idx3-ubyte").write_bytes(images or sound[0])
            (raw / f"{split}-labels-idx1-ubyte").write_bytes(labels or sound[1])

    return make


def _instead(make_node: Make) -> Make:
    def make(folder: Path) -> None:
        _mnist()(folder)
        (path := folder / "MNIST" / "raw" / "train-images-idx3-ubyte").unlink()
        make_node(path)

    return make


def _legacy(folder: Path) -> None:
    _mnist()(folder)
    (folder / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        np.array([Trap()], dtype=object).dump(folder / "MNIST" / "processed" / name)


def _celeba(folder: Path) -> None:
    (folder / "celeba").mkdir()
    sparse(folder / "celeba" / "list_attr_celeba.txt")


PUBLISHED: dict[str, Make] = {
    "2^31 images declared": _mnist(_idx((2**31, 28, 28), bytes(784))),
    "-1 images declared": _mnist(_idx((2**32 - 1, 28, 28), bytes(784))),
    "images of another size": _mnist(_idx((3, 784, 1), bytes(3 * 784))),
    "images that are floats": _mnist(_idx((3, 28, 28), bytes(4 * 3 * 784), 13)),
    "labels up to 255": _mnist(labels=_idx((3,), b"\xff\x00\x01")),
    "fewer labels than images": _mnist(labels=_idx((2,), bytes(2))),
    "a magic number alone": _mnist(struct.pack(">I", 0x803)),
    "images are a FIFO": _instead(os.mkfifo),
    "images are 10 GB of nothing": _instead(sparse),
    "a pickle of an older layout": _legacy,
    "attributes are 10 GB of nothing": _celeba,
}


def load_published(folder: Path) -> object:
    source = celeba if (folder / "celeba").is_dir() else mnist
    return source(root=str(folder))


ROW = b" ".join([b"0"] * 784)


def _amat(content: bytes) -> Make:
    return lambda folder: (folder / "binarized_mnist_test.amat").write_bytes(content)


AMATS: dict[str, Make] = {
    "it is a FIFO": lambda folder: os.mkfifo(folder / "binarized_mnist_test.amat"),
    "it is 10 GB of nothing": lambda folder: sparse(folder / "binarized_mnist_test.amat"),
    "one line of all pixels": _amat(b" ".join([ROW] * 10_000)),
    "lines of 783 and 785": _amat((ROW[:-2] + b"\n" + ROW + b" 0\n") * 5_000),
    "a digit too few": _amat((ROW + b"\n") * 9_999 + ROW[:-2]),
    "bytes of nothing": _amat(bytes(784 * 10_000)),
}


def load_amat(folder: Path) -> object:
    return binarised_mnist("test", root=str(folder))
