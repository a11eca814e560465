"""Gated stacks over an image: rows above and pixels to the left, padded on one side, so that no mask can be wrong."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.functional import conv2d, elu, pad

from ppvae.described import Described
from ppvae.errors import check_whole
from ppvae.networks.causal.gate import gate
from ppvae.networks.causal.pixels import maps_read, pixels_read
from ppvae.networks.causal.raster import in_raster_order
from ppvae.networks.causal.windows import Reach, Window, reaches
from ppvae.networks.images import check_image_shape

__all__ = ["GatedLayer", "GatedPixels"]


class GatedPixels(Described, nn.Module):
    """Features of each pixel from the pixels before it, in raster order, and from a map of context.

    A vertical stack sees the rows above a pixel, a horizontal one the pixels to its left and the vertical stack: all
    that is before it, no blind spot. Both are convolutions padded on one side; the first layer leaves the pixel itself
    out. The context enters every gate, tanh(a)·σ(b), linearly and pixel by pixel. Layers after the first add to the
    features of the one before.

    ``window``: (height, width) of what is seen, exactly (:func:`~ppvae.networks.causal.windows.reaches`); None is the
    full past, (0, 1) nothing. ``tied``: layers of one kernel share their weights. ``grey``: of the past only
    the grey values are seen, 0.299 R + 0.587 G + 0.114 B. The network is told where the image ends.

    Shapes: image (n, C, H, W), context (n, ``context``, H, W), seen (n, 1, H, W) or None, zero where a pixel is hidden
    from all others → features (n, ``channels``, H, W).
    Errors: :class:`~ppvae.errors.UserError` for a wrong window, sizes out of range, or grey values of what is no RGB.
    Sources: van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", Sec. 2.1 to 2.3; Chen et
    al. 2017 (VLAE), Sec. 3.1, for window and grey values.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        context: int,
        *,
        window: Window = None,
        layers: int = 8,
        channels: int = 32,
        grey: bool = False,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        for name, value in (("context", context), ("layers", layers), ("channels", channels)):
            check_whole(name, value, 1)
        inputs = maps_read(self.image_shape[0], grey=grey)
        self.features = channels
        self.grey = grey
        self.reaches = reaches(window, layers, self.image_shape)
        upwards = any(reach.rows for reach in self.reaches)
        kinds: list[tuple[int, int, int]] = []
        self.stack = nn.ModuleList()  # each once
        self.order: list[int] = []  # which of them, layer by layer
        for place, reach in enumerate(self.reaches):
            kind = (min(place, 1) if tied else place, reach.rows, reach.columns)
            if kind not in kinds:
                kinds.append(kind)
                self.stack.append(GatedLayer(channels if place else inputs, channels, context, reach, place, upwards))
            self.order.append(kinds.index(kind))

    def forward(self, image: torch.Tensor, context: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        above = left = self.entering(image, seen)
        for layer, reach in self.in_order():
            above, left = layer(above, left, context, reach.dilation)
        return elu(left)

    def in_order(self) -> list[tuple["GatedLayer", Reach]]:
        """Its layers, first to last, with their reach; a tied one stands several times."""
        return [(self.stack[which], reach) for which, reach in zip(self.order, self.reaches, strict=True)]

    def entering(self, image: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        """What the first layer reads of pixels (n, C, h, w): values, and a one for each that is no padding."""
        return pixels_read(image, seen, grey=self.grey)

    def in_raster_order(self, context: torch.Tensor, draw: Callable, image: torch.Tensor, start: int) -> torch.Tensor:
        """The image with its pixels from ``start`` on set by ``draw``, see :func:`~.raster.in_raster_order`."""
        return in_raster_order(self, context, draw, image, start)


class GatedLayer(nn.Module):
    """One layer of both stacks; the ``place`` 0 is the first, which leaves the pixel itself out."""

    def __init__(self, inputs: int, channels: int, context: int, reach: Reach, place: int, upwards: bool) -> None:
        super().__init__()
        self.first = place == 0
        own = 0 if self.first else 1  # the pixel's own row and column
        self.rows, self.columns = reach.rows, reach.columns
        self.context = nn.Conv2d(context, 2 * channels * (1 + upwards), 1)
        self.vertical = self.downwards = self.horizontal = None
        if upwards:
            kernel = (reach.rows + own, 2 * reach.columns + 1)
            self.vertical = nn.Conv2d(inputs, 2 * channels, kernel, bias=False)
            self.downwards = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        if reach.columns + own:
            self.horizontal = nn.Conv2d(inputs, 2 * channels, (1, reach.columns + own), bias=False)
        self.outwards = nn.Conv2d(channels, channels, 1)

    def forward(
        self, above: torch.Tensor, left: torch.Tensor, context: torch.Tensor, dilation: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        both = self.context(context)
        if self.vertical is None:
            entering = both
        else:
            for_above, entering = both.chunk(2, 1)
            sides = self.columns * dilation
            seen = conv2d(self._from_above(above, sides, dilation), self.vertical.weight, dilation=dilation)
            above = gate(seen + for_above)
            entering = entering + self.downwards(seen)
        if self.horizontal is not None:
            entering = entering + conv2d(self._from_left(left, dilation), self.horizontal.weight, dilation=dilation)
        added = self.outwards(gate(entering))
        return above, added if self.first else left + added

    def _from_above(self, maps: torch.Tensor, sides: int, dilation: int) -> torch.Tensor:
        """Padded so that each row sees itself and those above, or those above alone in the first layer."""
        return pad(maps, (sides, sides, self.rows * dilation, -1 if self.first else 0))

    def _from_left(self, maps: torch.Tensor, dilation: int) -> torch.Tensor:
        return pad(maps, (self.columns * dilation, -1 if self.first else 0))
