"""Sets of image files: Omniglot, CelebA, or any folder."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from torch import Tensor

from ppvae.datasets.caching import cached
from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.decoded import DecodedImages, Resident, settle
from ppvae.datasets.decoding import decode
from ppvae.datasets.factors import factor
from ppvae.datasets.fitting import Fit
from ppvae.datasets.image_files import image_files
from ppvae.datasets.joining import Unlabelled, joined
from ppvae.datasets.picture_reader import picture_reader, settled_reader
from ppvae.datasets.published import published
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError, check_choice, check_whole

__all__ = ["celeba", "celeba_reader", "image_folder", "omniglot", "omniglot_reader"]

_CELEBA_WIDTH = 178
_NVAE = 148, (15, 40)  # side, then left and top


def omniglot(
    split: Literal["train", "test"] = "train",
    *,
    image_size: int = 105,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Omniglot, ink 1 on paper 0: 19 280 (train: the background set) or 13 180 (test: the evaluation set) drawn
    characters (1, image_size, image_size), factors ``label`` (the character) and ``alphabet``.

    At 105 pixels images are binary as published; a smaller ``image_size`` averages the ink over each new pixel's area
    (box filter), which gives grey pixels. 28 pixels from here are not the 28 × 28 set of the IWAE tables. Files, and
    the archive they came in, in ``root``/omniglot-py. Other arguments and errors as for ``mnist``.
    Source: Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program induction",
    2015.
    """
    check_choice("split", split, ("train", "test"))
    check_whole("image_size", image_size, 1)
    selection = Selection(binarise, dequantise, size, seed)
    with published("omniglot", split, root, download):
        from torchvision.datasets import Omniglot

        folder = Path(Omniglot(root, background=split == "train", download=download).target_folder)
        files = sorted(folder.glob("*/*/*.png"))  # torchvision's order is the file system's
        if not files:
            raise FileNotFoundError(f"no images in {folder}")
    characters = [f"{path.parts[-3]}/{path.parts[-2]}" for path in files]
    factors = {"label": _named_levels(characters), "alphabet": _named_levels([path.parts[-3] for path in files])}
    images = DecodedImages(list(map(str, files)), omniglot_reader(image_size), (1, image_size, image_size))
    return settle(selection.dataset(images, factors, f"omniglot {split}"), resident=True)


def celeba(
    split: Literal["train", "valid", "test"] = "train",
    *,
    image_size: int = 64,
    crop: int | Literal["nvae"] = 148,
    resident: Resident = "auto",
    cache: str | os.PathLike[str] | None = None,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """CelebA, aligned: 162 770, 19 867 or 19 962 faces (3, image_size, image_size), with the 40 attributes as binary
    factors (1: present).

    Of the 178 × 218 pixels the central ``crop`` × ``crop`` are kept (148 in most work, 140 in the Wasserstein
    auto-encoder's), or for ``"nvae"`` rows 40 to 187 and columns 15 to 162, five rows lower, and resized with an
    antialiasing triangle filter; say both beside a result. ``resident``: decode all now (True), on demand (False), or
    now if they take at most 2 GiB ("auto"). ``cache``: a folder where they are decoded, once, into a Zarr store that
    they are read from, as ``zarr`` can, too. Files in ``root``/celeba. To download them torchvision needs the package
    gdown. Other arguments and errors as for ``mnist``.
    Source: Liu, Luo, Wang, Tang, "Deep learning face attributes in the wild", 2015.
    """
    check_choice("split", split, ("train", "valid", "test"))
    check_whole("image_size", image_size, 1)
    read = celeba_reader(image_size, crop)
    selection = Selection(binarise, dequantise, size, seed)
    with published("celeba", split, root, download):
        from torchvision.datasets import CelebA

        faces = CelebA(root, split=split, target_type="attr", download=download)
        folder = Path(faces.root, faces.base_folder, "img_align_celeba")
        missing = sorted(set(faces.filename) - set(os.listdir(folder)))
        if missing:
            raise FileNotFoundError(f"{len(missing)} images are missing in {folder}, {missing[0]} the first")
    names = [name for name in faces.attr_names if name]  # the header line ends in a space
    factors = {
        name: factor(column, [0, 1], long_name=name.replace("_", " "))
        for name, column in zip(names, faces.attr.numpy().T, strict=True)
    }
    images = DecodedImages([str(folder / name) for name in faces.filename], read, (3, image_size, image_size))
    data = cached(ImageDataset(images, factors, f"celeba {split}, crop {crop}"), cache)
    return settle(selection.dataset(data.images, factors, data.name), resident)


def omniglot_reader(image_size: int) -> Callable[[str], Tensor]:
    """How a drawing's file becomes an image of Omniglot: path → uint8 (1, image_size, image_size)."""
    return partial(decode, channels=1, image_size=image_size, resampling="BOX", inverted=True)


def celeba_reader(image_size: int, crop: int | Literal["nvae"]) -> Callable[[str], Tensor]:
    """How a file of an aligned face becomes an image of CelebA: path → uint8 (3, image_size, image_size)."""
    side, corner = _NVAE if crop == "nvae" else (crop, None)
    check_whole("crop", side, 1)
    if side > _CELEBA_WIDTH:
        raise UserError(f"crop={crop}: expected at most {_CELEBA_WIDTH}, the width of CelebA's images; 148 is usual")
    return partial(decode, channels=3, image_size=image_size, crop=side, corner=corner)


def image_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int | Sequence[int] | None = None,
    fit: Fit | None = None,
    channels: Literal[1, 3] | None = None,
    background: str | None = None,
    real: bool = False,
    transforms: Sequence[object] = (),
    table: str | os.PathLike[str] | None = None,
    join: str | None = None,
    columns: Sequence[str] | None = None,
    unlabelled: Unlabelled = "refuse",
    resident: Resident = "auto",
    cache: str | os.PathLike[str] | None = None,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Any folder of pictures, or a .zip archive of them: (channels, rows, columns) each.

    The pictures directly in ``path``, or, where there are none, those below its folders (torchvision's ImageFolder),
    whose names are the levels of the factor ``label``; in alphabetical order. JPEG, PNG, TIFF, WebP, BMP, GIF and the
    PPM family; a file with several frames is refused. Turned as EXIF says.

    ``image_size``: rows and columns, one number for a square, None for those of the first picture; another scale is
    resized (antialiased). ``fit``: what becomes of another shape: ``crop`` keeps the central part, ``pad`` all of it
    within a border, ``stretch`` changes its proportions, None refuses it. ``channels``: 1 makes colours grey, 3 repeats
    grey, None is 1 where the first picture is grey, and then refuses colours. ``background``: the colour below
    transparent pixels and, else black, of the border, by any name of Pillow's; None refuses transparent ones. ``real``:
    keep pixels as float32 in [0, 1], 16 bits over 65535, 8 over 255, floats as they are; otherwise more than 8 bits are
    refused.
    ``transforms``: torchvision's, by name (``named_transforms``), before the fit; none that draws random numbers.

    ``table``: a CSV or Parquet file with a row a picture, ``join`` its column of file names (by default the one that
    names most pictures), ``columns`` those that become factors (by default all that can; the rest is logged, with the
    reason), ``unlabelled``: whether pictures without a row are refused, dropped or kept; kept ones, and those with an
    empty entry, have the level ``unlabelled``. Names may lack folders and ending.

    ``resident`` and ``cache`` as for ``celeba``, other arguments as for ``mnist``.
    Errors: :class:`~ppvae.errors.UserError` where there are no images, where links make a circle of folders, for a
    table that does not fit, and for a file that cannot be decoded or is not as asked, when it is read.
    """
    selection = Selection(binarise, dequantise, size, seed)
    how = {"image_size": image_size, "fit": fit, "channels": channels, "background": background, "real": real}
    asked = picture_reader(**how, transforms=transforms)
    found = image_files(Path(path))
    reader, shape = settled_reader(asked, found.paths[0])
    factors = {"label": _named_levels(found.labels)} if found.labels else {}
    rows = np.arange(len(found.paths))
    if table is not None:
        rows, described = joined(found.names, table, join, columns, unlabelled)
        factors = {name: values[rows] for name, values in factors.items() if name not in described} | described
    named = xr.Dataset(factors, coords={"file": ("image", np.array(found.names)[rows]), "image": rows})
    images = DecodedImages(np.array(found.paths)[rows], reader, shape, real=real)
    name = ", ".join(filter(None, (Path(path).resolve().name, reader.description)))
    data = cached(ImageDataset(images, named, name, real=real), cache)
    return settle(selection.dataset(data.images, named, name), resident)


def _named_levels(names: list[str]) -> xr.DataArray:
    """A factor whose levels are the different names, in alphabetical order."""
    values, index = np.unique(names, return_inverse=True)
    return factor(index, values.tolist())
