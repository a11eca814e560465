"""Gated stacks run pixel by pixel: the vertical one once a row, the horizontal one once a pixel."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import elu

from ppvae.networks.causal.gate import gate

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
        told = _by_column(context[:, :, row])
        for stack in stacks:
            above = stack.begin_row(above, told)
        if (row + 1) * columns > start:
            for column in range(columns):
                left: torch.Tensor | None = None
                for stack in stacks:
                    left = stack.pixel(column, left)
                if row * columns + column >= start:
                    image[:, :, row, column] = draw(elu(left), row, column)
                stacks[0].lefts.append(network.entering(image[:, :, row : row + 1, column : column + 1])[:, :, 0, 0])
        stacks[0].enter_row(_by_column(network.entering(image[:, :, row : row + 1])[:, :, 0]))
    return image


class _Cached:
    """A layer, and what it has read of the rows above and of this row's pixels.

    Rows are (W, n, channels), so that all a layer does is one product of matrices. What is large is written into memory
    of its own, as to get fresh memory for every row costs as much as the products.
    """

    def __init__(self, layer: "GatedLayer", dilation: int, image: torch.Tensor) -> None:
        self.layer, self.dilation, self.first = layer, dilation, layer.first
        count, _, _, self.width = image.shape
        self.outwards = layer.outwards.weight[:, :, 0, 0].T
        self.context = [part[:, :, 0, 0].T for part in layer.context.weight.chunk(1 if layer.vertical is None else 2)]
        self.biases = layer.context.bias.chunk(len(self.context))
        self.told = [image.new_empty(self.width * count, len(bias)) for bias in self.biases]
        self.lefts: list[torch.Tensor] = []
        if layer.horizontal is not None:
            weight = layer.horizontal.weight[:, :, 0]  # (2 channels, inputs, taps)
            self.weight = weight.permute(2, 1, 0).flatten(0, 1)
            self.padding = layer.columns * dilation * [image.new_zeros(count, weight.shape[1])]
        if layer.vertical is not None:
            self._prepare_rows(layer, image)

    def _prepare_rows(self, layer: "GatedLayer", image: torch.Tensor) -> None:
        count, dilation = len(image), self.dilation
        weight = layer.vertical.weight  # (2 channels, inputs, rows, columns)
        self.vertical = weight.permute(2, 3, 1, 0).flatten(0, 2)
        self.downwards = layer.downwards.weight[:, :, 0, 0].T
        self.sides = layer.columns * dilation
        kept = layer.rows * dilation + (0 if self.first else 1)
        padded = (self.width + 2 * self.sides, count, weight.shape[1])
        self.rows = deque(image.new_zeros(padded) for _ in range(kept))
        self.read = image.new_empty(self.width, count, len(self.vertical))
        self.seen = image.new_empty(self.width * count, len(weight))

    def enter_row(self, maps: torch.Tensor) -> None:
        """The last of the rows that the next one reads, (W, n, channels)."""
        if self.layer.vertical is not None:
            self.rows.rotate(-1)
            self.rows[-1][self.sides : self.sides + self.width] = maps

    def begin_row(self, above: torch.Tensor | None, context: torch.Tensor) -> torch.Tensor | None:
        """Read the layer before's row (W, n, channels); what this row's pixels add to is ready then."""
        for bias, weight, told in zip(self.biases, self.context, self.told, strict=True):
            torch.addmm(bias, context.flatten(0, 1), weight, out=told)
        if self.layer.vertical is not None:
            if not self.first:
                self.enter_row(above)
            shifts = range(0, 2 * self.sides + 1, self.dilation)
            rows = list(self.rows)[:: self.dilation]
            torch.cat([row[shift : shift + self.width] for row in rows for shift in shifts], -1, out=self.read)
            torch.mm(self.read.flatten(0, 1), self.vertical, out=self.seen)
            above = gate(self.told[0].add_(self.seen)).unflatten(0, (self.width, -1))
            self.told[1].addmm_(self.seen, self.downwards)
        self.entering = self.told[-1].unflatten(0, (self.width, -1)).unbind()
        if self.layer.horizontal is not None:
            self.lefts = self.padding.copy()
        return above

    def pixel(self, column: int, left: torch.Tensor | None) -> torch.Tensor:
        """The features (n, channels) at a pixel, from the layer before's there."""
        entering = self.entering[column]
        if self.layer.horizontal is not None:
            if not self.first:
                self.lefts.append(left)
            read = self.lefts[column :: self.dilation]
            entering = torch.addmm(entering, read[0] if len(read) == 1 else torch.cat(read, 1), self.weight)
        added = torch.addmm(self.layer.outwards.bias, gate(entering), self.outwards)
        return added if self.first else left + added


def _by_column(row: torch.Tensor) -> torch.Tensor:
    """(n, maps, W) as (W, n, maps)."""
    return row.permute(2, 0, 1).contiguous()
