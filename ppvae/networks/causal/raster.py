"""Gated stacks run pixel by pixel: the vertical one once a row, the horizontal one once a pixel."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import conv2d, elu

if TYPE_CHECKING:
    from ppvae.networks.causal.gated import GatedLayer, GatedPixels

__all__ = ["in_raster_order"]

type Draw = Callable[[torch.Tensor, int, int], torch.Tensor]


@torch.no_grad()
def in_raster_order(
    network: "GatedPixels", context: torch.Tensor, draw: Draw, image: torch.Tensor, start: int
) -> torch.Tensor:
    """The image whose pixels from ``start`` on are ``draw(features, row, column)``, each of the features before it.

    Each feature is computed once, as in one pass of the network over the whole image.
    Shapes: context (n, maps, H, W), image (n, C, H, W), features (n, ``channels``) → pixel (n, C).
    """
    image = image.clone()
    rows, columns = image.shape[-2:]
    stacks = [_Cached(layer, dilation, image) for layer, (_, _, dilation) in network.in_order()]
    for row in range(rows):
        above: torch.Tensor | None = None
        for stack in stacks:
            above = stack.begin_row(row, above, context[:, :, row : row + 1])
        if (row + 1) * columns > start:
            for column in range(columns):
                left: torch.Tensor | None = None
                for stack in stacks:
                    left = stack.pixel(column, left)
                if row * columns + column >= start:
                    image[:, :, row, column] = draw(elu(left), row, column)
                stacks[0].enter_pixel(column, network.entering(image[:, :, row : row + 1, column : column + 1]))
        stacks[0].enter_row(row, network.entering(image[:, :, row : row + 1]))
    return image


class _Cached:
    """A layer, and what it has read of the rows so far and of this row's pixels."""

    def __init__(self, layer: "GatedLayer", dilation: int, image: torch.Tensor) -> None:
        self.layer, self.dilation, self.first = layer, dilation, layer.first
        count, _, rows, self.width = image.shape
        self.top, self.left = layer.rows * dilation, layer.columns * dilation
        self.above = self.before = None
        if layer.vertical is not None:
            self.above = image.new_zeros(count, layer.vertical.in_channels, self.top + rows, self.width)
        if layer.horizontal is not None:
            weight = layer.horizontal.weight[:, :, 0]  # (2 channels, inputs, taps)
            self.weight = weight.permute(2, 1, 0).flatten(0, 1)
            self.before = image.new_zeros(self.left + self.width, count, weight.shape[1])
        self.outwards = layer.outwards.weight[:, :, 0, 0].T

    def begin_row(self, row: int, above: torch.Tensor | None, context: torch.Tensor) -> torch.Tensor | None:
        """Read the layer before's row (n, channels, 1, W); what this row's pixels add to is ready then."""
        layer, both = self.layer, self.layer.context(context)
        if self.above is None:
            entering = both
        else:
            if not self.first:
                self.enter_row(row, above)
            for_above, entering = both.chunk(2, 1)
            read = self.above[:, :, row : row + self.top + (0 if self.first else 1) : self.dilation]
            reach = {"padding": (0, self.left), "dilation": (1, self.dilation)}
            seen = conv2d(read, layer.vertical.weight, **reach)
            above = (seen + for_above).chunk(2, 1)
            above = above[0].tanh() * above[1].sigmoid()
            entering = entering + layer.downwards(seen)
        self.entering = entering[:, :, 0].permute(2, 0, 1).contiguous()  # (W, n, 2 channels)
        return above

    def pixel(self, column: int, left: torch.Tensor | None) -> torch.Tensor:
        """The features (n, channels) at a pixel, from the layer before's there."""
        entering = self.entering[column]
        if self.before is not None:
            if not self.first:
                self.before[self.left + column] = left
            read = self.before[column : column + self.left + (0 if self.first else 1) : self.dilation]
            entering = torch.addmm(entering, read.transpose(0, 1).flatten(1), self.weight)
        a, b = entering.chunk(2, 1)
        added = torch.addmm(self.layer.outwards.bias, a.tanh() * b.sigmoid(), self.outwards)
        return added if self.first else left + added

    def enter_row(self, row: int, maps: torch.Tensor) -> None:
        if self.above is not None:
            self.above[:, :, self.top + row] = maps[:, :, 0]

    def enter_pixel(self, column: int, maps: torch.Tensor) -> None:
        if self.before is not None:
            self.before[self.left + column] = maps[:, :, 0, 0]
