"""Published datasets that torchvision reads whole: MNIST and its relatives, SVHN, CIFAR-10."""

import string
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ppvae.datasets.conversion import Binarise, Dequantise
from ppvae.datasets.dataset import ImageDataset
from ppvae.datasets.factors import factor
from ppvae.datasets.published import check_digits, published
from ppvae.datasets.selection import Selection
from ppvae.errors import UserError, check_choice

__all__ = ["cifar10", "emnist", "fashion_mnist", "mnist", "svhn"]

_SPLITS = ("train", "test")
_DIGITS = tuple(string.digits)
_EMNIST_SUBSETS = ("letters", "digits", "balanced", "byclass", "bymerge", "mnist")


def mnist(
    split: Literal["train", "test"] = "train",
    *,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """MNIST: 60 000 or 10 000 grey digits (1, 28, 28), factor ``label``; files in ``root``/MNIST.

    ``size`` images drawn by ``seed``, or all; ``binarise``, ``dequantise`` as in ``Conversion``. On grey pixels a
    Bernoulli likelihood is none: numbers in nats are comparable on binarised digits only.
    Errors: :class:`~ppvae.errors.UserError` for missing or broken files, with the command to download them, and for
    arguments that cannot be.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    check_choice("split", split, _SPLITS)
    selection = Selection(binarise, dequantise, size, seed)
    with published("mnist", split, root, download):
        from torchvision.datasets import MNIST

        files = MNIST(root, train=split == "train", download=download)
        check_digits(files.data, files.targets, len(_DIGITS))
    return selection.dataset(files.data[:, None], {"label": factor(files.targets, _DIGITS)}, f"mnist {split}")


def fashion_mnist(
    split: Literal["train", "test"] = "train",
    *,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Fashion-MNIST: 60 000 or 10 000 grey pieces of clothing (1, 28, 28), factor ``label``; files in
    ``root``/FashionMNIST.

    Arguments and errors as for ``mnist``.
    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", 2017.
    """
    check_choice("split", split, _SPLITS)
    selection = Selection(binarise, dequantise, size, seed)
    with published("fashion_mnist", split, root, download):
        from torchvision.datasets import FashionMNIST

        files = FashionMNIST(root, train=split == "train", download=download)
        check_digits(files.data, files.targets, len(files.classes))
    label = factor(files.targets, files.classes)
    return selection.dataset(files.data[:, None], {"label": label}, f"fashion_mnist {split}")


def emnist(
    split: Literal["train", "test"] = "train",
    *,
    subset: str = "letters",
    classes: Sequence[str] | None = None,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """EMNIST, upright: grey letters and digits (1, 28, 28), factor ``label``; files in ``root``/EMNIST.

    ``subset``: letters (26 classes, upper and lower case together, 124 800 or 20 800 images), digits, balanced,
    byclass, bymerge or mnist. ``classes``: the characters to keep, such as ["A", "B", "C", "D"], which are then the
    levels of ``label`` in this order; None keeps all. The files store images transposed and number the letters from
    1; here they are upright, and a level's value is its character. Other arguments and errors as for ``mnist``.
    Source: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters", 2017.
    """
    check_choice("split", split, _SPLITS)
    check_choice("subset", subset, _EMNIST_SUBSETS)
    selection = Selection(binarise, dequantise, size, seed)
    with published("emnist", split, root, download):
        from torchvision.datasets import EMNIST

        names = list(string.ascii_uppercase) if subset == "letters" else list(EMNIST.classes_split_dict[subset])
        chosen = _chosen(names, classes, merged=subset == "letters")
        files = EMNIST(root, split=subset, train=split == "train", download=download)
        check_digits(files.data, files.targets, len(names) + (subset == "letters"))
    levels = torch.full((256,), -1)
    levels[torch.tensor(chosen) + (subset == "letters")] = torch.arange(len(chosen))
    index = levels[files.targets]
    kept, values = index >= 0, [names[k] for k in chosen]
    what = f"emnist {subset} {split}" if classes is None else f"emnist {subset} {''.join(values)} {split}"
    return selection.dataset(_grey(files.data[kept].mT), {"label": factor(index[kept], values)}, what)


def svhn(
    split: Literal["train", "test", "extra", "train_and_extra"] = "train",
    *,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Street View House Numbers, cropped: 73 257, 26 032 or 531 131 colour digits (3, 32, 32), factor ``label``;
    files ``root``/`split`_32x32.mat.

    ``train_and_extra`` is the one after the other, 604 388 images, 1.9 GB. Arguments and errors as for ``mnist``.
    Source: Netzer, Wang, Coates, Bissacco, Wu, Ng, "Reading digits in natural images with unsupervised feature
    learning", 2011.
    """
    check_choice("split", split, (*_SPLITS, "extra", "train_and_extra"))
    selection = Selection(binarise, dequantise, size, seed)
    parts = []
    for part in split.split("_and_"):
        with published("svhn", part, root, download):
            from torchvision.datasets import SVHN

            parts.append(SVHN(root, split=part, download=download))
    label = factor(np.concatenate([np.atleast_1d(part.labels) for part in parts]), _DIGITS)
    pixels = parts[0].data if len(parts) == 1 else np.concatenate([part.data for part in parts])
    return selection.dataset(np.ascontiguousarray(pixels), {"label": label}, f"svhn {split}")


def cifar10(
    split: Literal["train", "test"] = "train",
    *,
    root: str = "data",
    download: bool = False,
    binarise: Binarise = "none",
    dequantise: Dequantise = "none",
    size: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """CIFAR-10: 50 000 or 10 000 colour photographs (3, 32, 32), factor ``label``; files in
    ``root``/cifar-10-batches-py.

    Arguments and errors as for ``mnist``.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    check_choice("split", split, _SPLITS)
    selection = Selection(binarise, dequantise, size, seed)
    with published("cifar10", split, root, download):
        from torchvision.datasets import CIFAR10

        files = CIFAR10(root, train=split == "train", download=download)
    pixels = np.ascontiguousarray(np.moveaxis(files.data, -1, 1))
    return selection.dataset(pixels, {"label": factor(files.targets, files.classes)}, f"cifar10 {split}")


def _grey(pixels: Tensor) -> Tensor:
    """(N, 1, H, W) of (N, H, W), contiguous."""
    return pixels[:, None].contiguous()


def _chosen(names: list[str], classes: Sequence[str] | None, *, merged: bool) -> list[int]:
    """Places of the wanted characters among ``names``; case does not matter where both are ``merged``."""
    if classes is None:
        return list(range(len(names)))
    wanted = [str(name).upper() if merged else str(name) for name in classes]
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(names):
        raise UserError(f"classes={list(classes)}: expected one or more different characters of {''.join(names)}")
    return [names.index(name) for name in wanted]
