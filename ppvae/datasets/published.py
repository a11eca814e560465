"""Published files that torchvision reads: looked at before, and what its readers raise in one line with the command
that fetches the files."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ppvae.errors import UserError, one_line
from ppvae.ordinary import open_ordinary

__all__ = ["check_digits", "published"]

FILES = {
    "mnist": ("MNIST/*/*", 2**26),
    "house_numbers": ("MNIST/*/*", 2**26),
    "fashion_mnist": ("FashionMNIST/*/*", 2**26),
    "emnist": ("EMNIST/*/*", 2**30),
    "cifar10": ("cifar-10-batches-py/*", 2**26),
    "svhn": ("*_32x32.mat", 2**31),
    "omniglot": ("omniglot-py/*", 2**26),
    "celeba": ("celeba/*", 2**31),
}
"""Where below ``root`` each source's files are, and more bytes than any of them has."""


@contextmanager
def published(name: str, split: str, root: str, download: bool) -> Iterator[None]:
    """UserError for missing or broken files of the source ``name``, with what to type to have them."""
    try:
        _look_at(*FILES[name], Path(root).expanduser())
        yield
    except UserError:
        raise
    except Exception as error:  # torchvision, pickle, scipy and PIL each raise their own on a broken file
        reason = one_line(error).split(". You can use")[0].rstrip(".")
        remedy = "look at the connection, or delete broken files there" if download else _commands(name, split, root)
        raise UserError(f"{name} {split!r} cannot be read from root={str(root)!r} ({reason}): {remedy}") from None


def check_digits(images: Tensor, labels: Tensor, levels: int) -> None:
    """ValueError unless images are uint8 (N, 28, 28) and their labels (N,) in 0..levels - 1, N at least one."""
    if images.dtype != torch.uint8 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{images.dtype} images of shape {tuple(images.shape)} with labels of shape {tuple(labels.shape)}, expected"
            " uint8 (N, 28, 28) and (N,)"
        )
    if not len(labels) or labels.min() < 0 or labels.max() >= levels:
        raise ValueError(f"labels {labels.unique().tolist()}, expected some of 0..{levels - 1}")


def _look_at(pattern: str, most: int, root: Path) -> None:
    """OSError for what torchvision would wait for, or read to no end: no ordinary file, or one much too long."""
    for path in root.glob(pattern):
        if not path.is_dir():
            try:
                open_ordinary(path, most).close()
            except OSError as error:
                raise OSError(f"{str(path)!r}: {error}") from None


def _commands(name: str, split: str, root: str) -> str:
    options = [f"data.split={split}"] * (split != "train") + [f"data.root={shlex.quote(str(root))}"] * (root != "data")
    command = " ".join(["ppvae train", f"data={name}", *options, "data.download=true"])
    python = f"ppvae.datasets.{name}({split!r}, root={str(root)!r}, download=True)"
    return f"download it with `{command}` or {python}; delete broken files first"
