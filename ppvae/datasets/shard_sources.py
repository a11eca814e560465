"""Pictures in shards: uncompressed .tar archives of samples, as WebDataset has them."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from ppvae.datasets.caching import cached
from ppvae.datasets.columns import factors_of
from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.decoded import DecodedImages, Resident, settle
from ppvae.datasets.fitting import Fit
from ppvae.datasets.picture_reader import picture_reader, settled_reader
from ppvae.datasets.reading import reading
from ppvae.datasets.selection import Selection
from ppvae.datasets.tarred import Member, members_of_tar, read_member
from ppvae.errors import UserError

__all__ = ["shards"]

logger = logging.getLogger(__name__)

WHAT, REMEDY = "shard", "give uncompressed .tar archives of pictures"
PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm")
CLASS, DESCRIPTION = "cls", "json"

type Sample = dict[str, Member]


def shards(
    path: str | os.PathLike[str],
    *,
    image_size: int | Sequence[int] | None = None,
    fit: Fit | None = None,
    channels: Literal[1, 3] | None = None,
    background: str | None = None,
    real: bool = False,
    resident: Resident = "auto",
    cache: str | os.PathLike[str] | None = None,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """The pictures in WebDataset's shards: a .tar archive, a folder of them, or a pattern such as ``train-*.tar``.

    Members whose names are alike up to the first dot are a sample: one picture, its class in ``.cls``, the factor
    ``label``, and in ``.json`` an object, whose numbers, text and booleans are further factors. Other members are left
    alone. The archives' headers are read once; then each picture is read from its place, so that the order of an epoch
    is drawn from all images, resumes anywhere and is shared by processes, which reading archives from end to end, as
    the package webdataset does, cannot give. Those archives must lie on a disk, uncompressed; ``cache`` suits slow
    ones. How pictures are read, and the other arguments: as for ``image_folder``.
    Errors: :class:`~ppvae.errors.UserError` for an archive that cannot be read, a sample without a picture or with two,
    and as ``image_folder`` does.
    """
    selection = Selection(binarise, dequantise, size, seed)
    asked = picture_reader(image_size=image_size, fit=fit, channels=channels, background=background, real=real)
    samples = [sample for archive in _archives(str(path)) for sample in _samples(archive)]
    pictures = [sample["picture"] for sample in samples]
    reader, shape = settled_reader(asked, pictures[0].path)
    files = [f"{os.path.basename(one.archive)}/{one.name}" for one in pictures]
    table = xr.Dataset(_factors(samples, str(path)), coords={"file": ("image", np.array(files))})
    images = DecodedImages([one.path for one in pictures], reader, shape, real=real)
    name = ", ".join(filter(None, (Path(path).stem, reader.description)))
    data = cached(ImageDataset(images, table, name, real=real), cache)
    return settle(selection.dataset(data.images, table, name), resident)


def _archives(path: str) -> list[str]:
    found = glob(os.path.join(path, "*.tar")) if os.path.isdir(path) else [path] if os.path.exists(path) else glob(path)
    if not found:
        raise UserError(f"no shards at {path!r}: give a .tar archive, a folder of them, or a pattern such as a-*.tar")
    return sorted(found)


def _samples(archive: str) -> list[Sample]:
    """The samples of an archive in its order, each by what its members are."""
    with reading(archive, WHAT, REMEDY):
        members = members_of_tar(archive)
    samples: dict[str, Sample] = {}
    for member in members:
        folder, _, base = member.name.rpartition("/")
        key, _, ending = base.partition(".")
        kind = "picture" if ending.lower() in PICTURES else ending
        sample = samples.setdefault(f"{folder}/{key}", {})
        if kind == "picture" and kind in sample:
            raise UserError(f"{archive!r}: {sample[kind].name!r} and {member.name!r} share a sample: rename one")
        sample[kind] = member
    for key, sample in samples.items():
        if "picture" not in sample:
            raise UserError(f"{archive!r}: the sample {key.lstrip('/')!r} has no picture of {', '.join(PICTURES)}")
    if not samples:
        raise UserError(f"{archive!r} holds no files: {REMEDY}")
    return list(samples.values())


def _factors(samples: Sequence[Sample], path: str) -> dict[str, xr.DataArray]:
    """Those that all samples have; the rest is logged."""
    described = [_description(sample) for sample in samples]
    every = dict.fromkeys(name for one in described for name in one)
    names = [name for name in every if all(isinstance(one.get(name), bool | int | float | str) for one in described)]
    if left := every.keys() - set(names):
        logger.warning("%s, not used: %s, expected a number or text in each sample", path, ", ".join(sorted(left)))
    columns = {name: np.array([one[name] for one in described]) for name in names}
    named = {"label": _classes(samples)} if all(CLASS in sample for sample in samples) else {}
    columns = {name: column for name, column in columns.items() if name not in named}
    return factors_of(columns, len(samples), None, path) | factors_of(named, len(samples), list(named), path)


def _description(sample: Sample) -> Mapping[str, Any]:
    """A sample's object."""
    if DESCRIPTION not in sample:
        return {}
    with reading(sample[DESCRIPTION].path, WHAT, "mend the description"):
        described = json.loads(read_member(sample[DESCRIPTION].path).read())
        if not isinstance(described, dict):
            raise ValueError(f"it holds {type(described).__name__}, expected an object")
    return described


def _classes(samples: Sequence[Sample]) -> np.ndarray:
    """Whole numbers, or else text."""
    words = []
    for sample in samples:
        with reading(sample[CLASS].path, WHAT, "mend the class"):
            words.append(read_member(sample[CLASS].path).read().decode().strip())
    try:
        return np.array([int(word) for word in words])
    except ValueError:
        return np.array(words)
