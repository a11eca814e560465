"""Images from any NumPy archive."""

import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from ppvae.datasets.columns import factors_of
from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.fitting import Fit, check_colour, fitted_pixels, said_fit
from ppvae.datasets.numpy_archives import Archive, Header, numpy_archive
from ppvae.datasets.pixels import checked_pixels
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError

__all__ = ["npz"]

logger = logging.getLogger(__name__)

LISTED = 12  # arrays that an error names


def npz(
    path: str | PathLike[str],
    *,
    images: str = "images",
    labels: str = "labels",
    image_size: int | Sequence[int] | None = None,
    fit: Fit | None = None,
    background: str = "black",
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    real: bool = False,
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Images and factors of an ``.npz`` file, named after it.

    ``images``: the array of (N, H, W), (N, H, W, C) or (N, C, H, W), C one to four: uint8 in 0..255, uint8 or bool
    zeros and ones, or floats in [0, 1], which ``real`` keeps as they are, and 16 bits over 65535. ``image_size``,
    ``fit``: as for ``image_folder``; ``background`` is the border's colour. ``labels``: the array of the factor
    ``label``; may be missing. Every other array (N,) or (N, 1) of numbers, text or booleans is a factor of its own
    name; which are levels and which continuous, ``factor_of`` says. An array that is no factor is logged, with the
    reason. Nothing is ever unpickled. Other arguments as for ``mnist``.
    Errors: :class:`~ppvae.errors.UserError` for a file or array that is missing or does not fit, and for labels that
    are no factor.
    """
    selection = Selection(binarise, dequantise, size, seed)
    check_colour(background)
    pixels, arrays = _arrays(path, images, labels)
    named = {"label": arrays.pop(labels)} if labels in arrays else {}
    count = pixels.shape[0] if pixels.ndim else 0
    factors = factors_of(arrays, count, None, repr(str(path)))
    if named:
        factors |= factors_of(named, count, ["label"], f"{str(path)!r}, labels={labels!r}")
    checked = fitted_pixels(checked_pixels(_channels_first(pixels), real=real), image_size, fit, background)
    name = ", ".join(filter(None, (Path(path).stem, said_fit(fit, background))))
    return selection.dataset(checked, factors, name, real=real)


def _arrays(path: str | PathLike[str], images: str, labels: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The images and what may be factors, labels first; of what else is in the archive the headers are read."""
    with numpy_archive(path, ".npz archive", "give an archive written by numpy.savez") as archive:
        if images not in archive:
            hint = ", as what is pickled is never read" if images in archive.pickled else ""
            raise UserError(f"{str(path)!r} has no array images={images!r}{hint}: name one of {_names(archive)}")
        if labels in archive.pickled:
            raise UserError(
                f"{str(path)!r}: labels={labels!r} is pickled, which is never read: save numbers, text or booleans"
            )
        if labels not in archive and labels != "labels":
            raise UserError(f"{str(path)!r} has no array labels={labels!r}: name one of {_names(archive)}")
        (count, *_), others = archive[images].shape or (0,), archive.keys() - {images, labels}
        fitting = [name for name in archive if name in others and _fits(archive[name], count)]
        for name in sorted(others.difference(fitting)):
            logger.warning(
                "%s, not used: %r is %s %s, expected numbers, text or booleans (%d,)",
                *(path, name, archive[name].dtype, archive[name].shape, count),
            )
        if archive.pickled:
            logger.warning(
                "%s, not used: %s, as what is pickled is never read", path, ", ".join(sorted(archive.pickled))
            )
        arrays = archive.read(dict.fromkeys([images, *(name for name in (labels,) if name in archive), *fitting]))
    return arrays.pop(images), arrays


def _fits(header: Header, count: int) -> bool:
    return header.shape in ((count,), (count, 1)) and header.dtype.kind in "SUbiuf"


def _names(archive: Archive) -> str:
    return ", ".join(list(archive)[:LISTED]) + ", …" * (len(archive) > LISTED) or "none"


def _channels_first(array: np.ndarray) -> np.ndarray:
    """(N, C, H, W), with zeros and ones as 0 and 255."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] <= 4 < array.shape[1]:
        array = np.ascontiguousarray(np.moveaxis(array, -1, 1))
    if array.dtype == bool or (array.dtype == np.uint8 and array.size and array.max() == 1):
        array = array.astype(np.uint8) * np.uint8(255)
    return array
