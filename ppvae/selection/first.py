"""The first images of whatever a pair is trained on."""

from typing import Any

import torch

from ppvae.datasets import ImageDataset
from ppvae.datasets.conversion import Conversion
from ppvae.pair.program import Data, inputs_of

__all__ = ["first_images", "first_pixels"]

PROBED = 1024


def first_images(data: ImageDataset | Data, count: int = PROBED) -> Any:
    """So many of them, with what comes with each."""
    if isinstance(data, ImageDataset):
        return data.subset(slice(min(count, len(data))))
    first = tuple(values[:count] for values in inputs_of(data))
    return first if len(first) > 1 else first[0]


def first_pixels(data: ImageDataset | Data, count: int) -> torch.Tensor:
    """So many images alone, (image, C, H, W), as the likelihood takes them."""
    first = first_images(data, count)
    return first.observed() if isinstance(first, ImageDataset) else Conversion()(inputs_of(first)[0])
