"""The static binarised MNIST that nats are compared on."""

from pathlib import Path
from typing import Literal

import numpy as np

from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.images import StoredImages
from ppvae.datasets.pixels import checked_pixels
from ppvae.datasets.reading import reading
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError, check_choice
from ppvae.ordinary import open_ordinary

__all__ = ["binarised_mnist"]

_ROWS = {"train": 50_000, "valid": 10_000, "test": 10_000}
_PIXELS = 28 * 28
_BYTES = 4  # a digit, its space and whatever else a copy may have put there
_NEWLINE = ord("\n")
_REMEDY = (
    "fetch binarized_mnist_train.amat, binarized_mnist_valid.amat and binarized_mnist_test.amat, from Larochelle's"
    " binarised MNIST, into the folder root; nothing downloads them by itself"
)


def binarised_mnist(
    split: Literal["train", "valid", "test"] = "train",
    *,
    root: str = "data",
    download: bool = False,  # noqa: ARG001 - as for every other source; the error says what to fetch
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """MNIST binarised once and for all: 50 000, 10 000 or 10 000 binary digits (1, 28, 28), without labels.

    Read from ``root``/binarized_mnist_`split`.amat. The test images are sorted by their digit: take a random part, by
    ``size`` and ``seed``, not the first.
    Errors: :class:`~ppvae.errors.UserError` for a missing file, and one of another format or length.
    Source: Larochelle, Murray, "The neural autoregressive distribution estimator", 2011.
    """
    check_choice("split", split, tuple(_ROWS))
    selection = Selection(size=size, seed=seed)
    path = Path(root).expanduser() / f"binarized_mnist_{split}.amat"
    with reading(path, "binarised MNIST", _REMEDY):
        images = _read(path, _ROWS[split])
    pixels = StoredImages(checked_pixels(images), binary=True)
    return selection.dataset(pixels, None, f"static binarised mnist {split}")


def _read(path: Path, rows: int) -> np.ndarray:
    """uint8 (rows, 1, 28, 28) of 0 and 255; a row of the file is 784 digits 0 or 1 with spaces between them."""
    most = _BYTES * rows * (_PIXELS + 1)
    with open_ordinary(path, most) as file:
        text = np.frombuffer(file.read(most), dtype=np.uint8)
    kept = text[(text > ord(" ")) | (text == _NEWLINE)]
    digits = kept[kept != _NEWLINE] - np.uint8(ord("0"))  # what comes before "0" wraps to above 200
    if digits.size and digits.max() > 1:
        raise UserError(f"{str(path)!r} holds more than 0, 1 and spaces: {_REMEDY}")
    if len(digits) != rows * _PIXELS:
        raise UserError(f"{str(path)!r} has {len(digits)} pixels, expected {rows} rows of {_PIXELS}: {_REMEDY}")
    ends = np.flatnonzero(kept == _NEWLINE)[: rows - 1]
    if (ends != _PIXELS + (_PIXELS + 1) * np.arange(rows - 1)[: len(ends)]).any() or len(ends) < rows - 1:
        raise UserError(f"{str(path)!r} has lines of other lengths than {_PIXELS} digits: {_REMEDY}")
    return digits.reshape(rows, 1, 28, 28) * np.uint8(255)
