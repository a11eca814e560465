"""House numbers drawn from handwritten digits: a stand-in for street views where those are not at hand."""

import string
from collections.abc import Mapping
from os import PathLike
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.datasets.archives import npz
from ppvae.datasets.composing import CHANCES, TEXTURE, compose, inked
from ppvae.datasets.conversion import Binarise, Conversion, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.datasets.published import check_digits, published
from ppvae.errors import UserError, check_choice, check_not_negative, check_whole

__all__ = ["house_numbers"]

_SPLITS = ("train", "test")
_HUES = 12
_CHOICES = ("sides", "left", "right", "background", "hue", "ink")
_AT_ONCE = 256
_FACTORS = {
    "label": (list(string.digits), {"long_name": "digit in the centre"}),
    "digits": ([1, 2, 3], {"long_name": "number of digits seen", "units": "1"}),
    "background": ([(k + 0.5) / _HUES for k in range(_HUES)], {"long_name": "hue of the background", "units": "turn"}),
    "ink": (["darker", "lighter"], {"long_name": "luminance of the digits against the background"}),
}


def house_numbers(
    split: Literal["train", "test"] = "train",
    size: int | None = None,
    seed: int = 0,
    *,
    root: str = "data",
    download: bool = False,
    digits: str | PathLike[str] | None = None,
    image_size: int = 32,
    distractors: float = 0.6,
    lighter: float = 0.5,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
) -> ImageDataset:
    """Digits of MNIST drawn as house numbers, in the format of SVHN's crops: (3, image_size, image_size), resident.

    The centre digit is the ``label``; with probability ``distractors`` others stand at its left, its right or both (a
    third each), cut off by the border; with probability ``lighter`` all are lighter than the background. Factors:
    ``label``; ``digits``, 1 to 3 of them seen; ``background``, the middle of one of 12 ranges of hue; ``ink``, darker
    or lighter. Colours, light, texture, blur and noise vary besides, and but for the label's own frequencies all are
    independent. Image i depends on ``seed``, ``split`` and i alone: a smaller ``size`` is the beginning of a larger
    one. By default one image for each digit of the split; beyond, digits come again with everything else drawn anew. 60
    000 images take a quarter of a minute of one core and 0.2 GB.
    ``digits``: an ``.npz`` of images (N, 28, 28), light on dark, and labels 0 to 9, in place of MNIST's files in
    ``root``/MNIST; ``{split}`` in its path stands for the split (one file for both splits would share its digits).
    Other arguments as for ``mnist``.
    Errors: :class:`~ppvae.errors.UserError` for missing or broken files and for arguments that cannot be.
    Source of the format: Netzer, Wang, Coates, Bissacco, Wu, Ng, "Reading digits in natural images with unsupervised
    feature learning", 2011. These are not its images: no number on them compares with one on SVHN.
    """
    check_choice("split", split, _SPLITS)
    if size is not None:
        check_whole("size", size, 1)
    check_whole("seed", seed, 0)
    check_whole("image_size", image_size, 16)
    for name, probability in (("distractors", distractors), ("lighter", lighter)):
        check_not_negative(name, probability)
        if probability > 1:
            raise UserError(f"{name}={probability}: expected a probability, at most 1")
    Conversion(binarise, dequantise)  # its errors come before the drawing
    pixels, labels = _mnist(split, root, download) if digits is None else _archive(str(digits), split)
    images, levels = _drawn(pixels, labels, size or len(pixels), image_size, (distractors, lighter), (seed, split))
    title = f"{len(images)} house numbers of {split} digits, drawn, not photographed"
    attrs = {"title": title, "seed": seed, "image_size": image_size, "distractors": distractors, "lighter": lighter}
    factors = {name: factor(levels[name], values, **more) for name, (values, more) in _FACTORS.items()}
    table = xr.Dataset(factors, attrs=attrs)
    return ImageDataset(images, table, f"house_numbers {split}", binarise=binarise, dequantise=dequantise)


def _mnist(split: str, root: str, download: bool) -> tuple[Tensor, Tensor]:
    """Digits uint8 (N, 28, 28) and labels (N,) of a split."""
    with published("house_numbers", split, root, download):
        from torchvision.datasets import MNIST

        try:
            files = MNIST(root, train=split == "train", download=download)
        except RuntimeError as error:
            raise RuntimeError(f"its digits are MNIST's: {error}") from None
        check_digits(files.data, files.targets, len(files.classes))
    return files.data, files.targets


def _archive(path: str, split: str) -> tuple[Tensor, Tensor]:
    """Digits uint8 (N, 28, 28) and labels (N,) of a file."""
    data = npz(path.replace("{split}", split))
    label = None if data.factors is None else data.factors.get("label")
    values = [] if label is None else label.attrs["values"]
    if data.image_shape != (1, 28, 28) or not values or not set(values) <= set(range(10)):
        raise UserError(
            f"digits={path!r} holds images {data.image_shape} with labels {values or 'missing'}:"
            " expected images (N, 28, 28) and labels 0 to 9"
        )
    pixels = data.stored()[:, 0]
    blank = (~inked(pixels)).flatten(1).all(1)
    if blank.any():
        raise UserError(f"digits={path!r}: image {int(blank.int().argmax())} is blank; leave it out")
    return pixels, torch.tensor(values)[torch.from_numpy(label.values)]


def _drawn(
    pixels: Tensor,
    labels: Tensor,
    size: int,
    image_size: int,
    probabilities: tuple[float, float],
    source: tuple[int, str],
) -> tuple[Tensor, dict[str, Tensor]]:
    """uint8 images (size, 3, image_size, image_size) and the factors' levels (size,).

    ``probabilities`` of distractors and of lighter digits."""
    distractors, lighter = probabilities
    images = torch.empty((size, 3, image_size, image_size), dtype=torch.uint8)
    levels = {name: torch.empty(size, dtype=torch.int64) for name in _FACTORS}
    order = torch.from_numpy(_stream(*source, 0, 1).permutation(len(pixels)))
    for rows in torch.arange(size).split(_AT_ONCE):
        chances, texture, noise = _random(rows.tolist(), image_size, source)
        centre = order[rows % len(order)]
        beside = _beside(chances["sides"], distractors)
        found = _chosen(chances, beside, lighter) | {"label": labels[centre]}
        for name, level in found.items():
            levels[name][rows] = level
        neighbours = ((chances[side] * len(pixels)).long() for side in ("left", "right"))
        digits = pixels[torch.stack([centre, *neighbours], 1)]
        digits[:, 1:] *= beside[:, :, None, None]
        hue = (found["background"] + chances["hue"]) / _HUES
        images[rows] = compose(digits, hue.float(), found["ink"] == 1, chances, texture, noise)
    return images, levels


def _beside(chance: Tensor, distractors: float) -> Tensor:
    """Whether there is a digit at the left and at the right, bool (n, 2)."""
    third = torch.where(chance < distractors, (3 * chance / max(distractors, 1e-300)).floor(), 3)
    return torch.stack([(third == 0) | (third == 2), (third == 1) | (third == 2)], 1)


def _chosen(chances: Mapping[str, Tensor], beside: Tensor, lighter: float) -> dict[str, Tensor]:
    """Levels of the factors that chance decides, each (n,)."""
    background, ink = (chances["background"] * _HUES).long(), (chances["ink"] >= 1 - lighter).long()
    return {"digits": beside.sum(1), "background": background, "ink": ink}


def _random(rows: list[int], image_size: int, source: tuple[int, str]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The images' own numbers: uniform ones by name (n,), normal ones of texture and noise."""
    uniform = np.empty((len(rows), len(_CHOICES) + len(CHANCES)))
    texture = np.empty((len(rows), *TEXTURE), dtype=np.float32)
    noise = np.empty((len(rows), 3, image_size, image_size), dtype=np.float32)
    for k, row in enumerate(rows):
        stream = _stream(*source, row)
        stream.random(out=uniform[k])
        stream.standard_normal(dtype=np.float32, out=texture[k])
        stream.standard_normal(dtype=np.float32, out=noise[k])
    chances = dict(zip(_CHOICES + CHANCES, torch.from_numpy(uniform).unbind(1), strict=True))
    return chances, torch.from_numpy(texture), torch.from_numpy(noise)


def _stream(seed: int, split: str, row: int, purpose: int = 0) -> np.random.Generator:
    """A counter-based generator gives each image its own stream; none is that of a conversion's noise, whose key
    has no second word."""
    key = [seed % 2**64, 1 + _SPLITS.index(split)]
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=[0, 0, purpose, row]))
