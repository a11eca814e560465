"""The way out: from the features of the last group to the parameters of each pixel."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import elu

from ppvae.described import Described
from ppvae.errors import check_whole
from ppvae.networks.hierarchy.bottom_up import padding_of
from ppvae.networks.hierarchy.cells import cells_of, stacked
from ppvae.networks.hierarchy.scales import padded_size, read_hierarchy
from ppvae.networks.hierarchy.top_down import Growing
from ppvae.networks.images import check_image_shape

__all__ = ["HierarchyDecoder"]


class HierarchyDecoder(Described, nn.Module):
    """The last features of a :class:`~ppvae.networks.hierarchy.TopDown`, of the same words, to each pixel's parameters.

    Maps are doubled up to the padded image, with cells after each doubling, then cropped to the image itself, so that
    pixels of the padding have no density. ``maps``: numbers a pixel, by default one a channel.

    Shapes: features (..., *``map_shape``) → (..., ``maps``, H, W), unbounded; the likelihood chooses the link function.
    Errors: :class:`~ppvae.errors.UserError` for a wrong hierarchy, or images that it does not fit.
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
        maps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("channels", channels, 1)
        check_whole("widening", widening, 1)
        self.image_shape = check_image_shape(image_shape)
        self.maps = self.image_shape[0] if maps is None else maps
        check_whole("maps", self.maps, 1)
        scale = read_hierarchy(hierarchy)[-1]
        make, _ = cells_of(cell)
        rows, columns, doublings = padded_size(scale, self.image_shape)
        self.padding = padding_of(self.image_shape[1:], (rows, columns))
        self.map_shape = (channels, scale.rows, scale.columns)
        widths = [channels, *(max(channels // widening**step, 4) for step in range(1, doublings + 1))]
        self.growing = nn.Sequential()
        for entering, leaving in pairwise(widths):
            self.growing.append(Growing(entering, leaving, 2))
            self.growing.append(stacked(make, leaving, cells))
        self.out = nn.Conv2d(widths[-1], self.maps, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        maps = self.out(elu(self.growing(features.reshape(-1, *self.map_shape))))
        left, _, top, _ = self.padding
        _, height, width = self.image_shape
        cropped = maps[..., top : top + height, left : left + width]
        return cropped.reshape(*features.shape[:-3], *cropped.shape[-3:])
