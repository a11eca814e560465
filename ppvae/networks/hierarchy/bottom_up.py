"""The way up: what an image says at each group."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.functional import pad

from ppvae.described import Described
from ppvae.errors import check_choice
from ppvae.networks.hierarchy.cells import cells_of, stacked
from ppvae.networks.hierarchy.scales import padded_size, read_hierarchy, widths_of
from ppvae.networks.images import check_image_shape

__all__ = ["BottomUp", "Top", "cosines", "padding_of"]

Top = Literal["network", "dct"]


class BottomUp(Described, nn.Module):
    """Images to features for each group of a hierarchy, from the pixels up.

    ``hierarchy``, ``channels``, ``cells``, ``cell`` and ``widening`` as of
    :class:`~ppvae.networks.hierarchy.TopDown`. Before the finest scale the image, padded by zeros to that scale's size
    doubled as often as it takes, is halved by strided convolutions with cells between them. ``top``: what the first
    group reads, the ``network`` on its way up, or ``dct``, the image's lowest cosine frequencies, as many as the group
    has places: what an image looks like from afar, whatever the network has made of it.

    Shapes: images (..., C, H, W) → a list of features (..., width, rows, columns), one a group, top first.
    Errors: :class:`~ppvae.errors.UserError` for a wrong hierarchy, images that it does not fit, or an unknown top.
    Sources: Vahdat and Kautz 2020 (NVAE), Fig. 2 (a); Kuzina and Tomczak 2024, "Hierarchical VAE with a diffusion-based
    VampPrior", for a context of cosine frequencies, which there has a prior of its own.
    """

    def __init__(
        self,
        hierarchy: str,
        image_shape: Sequence[int],
        *,
        channels: int = 32,
        cells: int = 1,
        cell: str = "nvae",
        widening: int = 2,
        top: Top = "network",
    ) -> None:
        super().__init__()
        check_choice("top", top, get_args(Top))
        self.image_shape = check_image_shape(image_shape)
        scales = read_hierarchy(hierarchy)
        _, make = cells_of(cell)
        rows, columns, halvings = padded_size(scales[-1], self.image_shape)
        self.padding = padding_of(self.image_shape[1:], (rows, columns))
        widths = widths_of(scales, channels, widening)
        before = [max(channels // widening ** (halvings - step), 4) for step in range(halvings)]
        path = [*before, channels]
        self.stem = nn.Conv2d(self.image_shape[0], path[0], 3, padding=1)
        self.halving = nn.Sequential()
        for entering, leaving in pairwise(path):
            self.halving.append(stacked(make, entering, cells))
            self.halving.append(nn.Conv2d(entering, leaving, 3, stride=2, padding=1))
        self.shrinking, self.rising = nn.ModuleDict(), nn.ModuleList()
        self.counts = [scale.groups for scale in scales]
        self.group_shapes = tuple(
            (width, *scale[:2]) for width, scale in zip(widths, scales, strict=True) for _ in range(scale.groups)
        )
        for level in reversed(range(len(scales))):
            if level + 1 < len(scales):
                factor = scales[level + 1].rows // scales[level].rows
                self.shrinking[str(level)] = nn.Conv2d(widths[level + 1], widths[level], factor, factor)
            self.rising.extend(stacked(make, widths[level], cells) for _ in range(scales[level].groups))

        self.coarse = _Coarse(self.image_shape[0], (rows, columns), self.group_shapes[0]) if top == "dct" else None

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        lead = images.shape[:-3]
        maps = self._up(pad(images.reshape(-1, *self.image_shape), self.padding))
        return [features.reshape(*lead, *features.shape[1:]) for features in reversed(maps)]

    def _up(self, images: torch.Tensor) -> list[torch.Tensor]:
        features, found = self.halving(self.stem(images)), []
        rising = iter(self.rising)
        for level in reversed(range(len(self.counts))):
            if str(level) in self.shrinking:
                features = self.shrinking[str(level)](features)
            for _ in range(self.counts[level]):
                features = next(rising)(features)
                found.append(features)
        if self.coarse is not None:
            found[-1] = self.coarse(images)
        return found


class _Coarse(nn.Module):
    """An image's lowest cosine frequencies as a map, and features of them."""

    def __init__(self, channels: int, sizes: Sequence[int], shape: Sequence[int]) -> None:
        super().__init__()
        width, rows, columns = shape
        self.features = nn.Conv2d(channels, width, 1)
        self.register_buffer("over_rows", cosines(sizes[0], rows), persistent=False)
        self.register_buffer("over_columns", cosines(sizes[1], columns), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(self.over_rows @ images @ self.over_columns.T)


def cosines(size: int, kept: int) -> torch.Tensor:
    """The ``kept`` lowest rows of the cosine transform of ``size`` values (DCT-II), each of length √(kept / size): a
    constant stays as large as it is."""
    places, frequencies = torch.arange(size) + 0.5, torch.arange(kept)[:, None]
    rows = torch.cos(torch.pi * frequencies * places / size) * (2 / size) ** 0.5
    rows[0] /= 2**0.5
    return rows * (kept / size) ** 0.5


def padding_of(sizes: Sequence[int], padded: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) of torch's ``pad``; an odd one is right and below."""
    (top, bottom), (left, right) = ((d // 2, d - d // 2) for d in (b - a for a, b in zip(sizes, padded, strict=True)))
    return left, right, top, bottom
