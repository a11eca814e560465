"""Attention of each pixel to those before it."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.functional import elu, pad, scaled_dot_product_attention

from ppvae.described import Described
from ppvae.errors import UserError, check_whole
from ppvae.networks.causal.gate import gate
from ppvae.networks.causal.pixels import maps_read, pixels_read
from ppvae.networks.causal.windows import Window
from ppvae.networks.images import check_image_shape

__all__ = ["AttentionLayer", "PixelAttention"]


class PixelAttention(Described, nn.Module):
    """Features of each pixel from all pixels before it, in raster order, and from a map of context.

    The pixels are a sequence, moved on by one, so that a pixel's place holds the pixel before it; ordinary causal
    attention then leaves the pixel itself out. A place is known by learnt embeddings of its row and its column. Each
    layer attends with several heads, and adds pointwise what passes a gate, tanh(a)·σ(b). The context is added at each
    place and enters every gate.

    ``window`` has to be None: all of the past is seen. ``tied``: one set of weights for all layers. ``grey``: of the
    past only the grey values are seen, 0.299 R + 0.587 G + 0.114 B. Cost grows with the square of the pixels.

    Shapes: image (n, C, H, W), context (n, ``context``, H, W), seen (n, 1, H, W) or None, zero where a pixel is hidden
    from all others → features (n, ``channels``, H, W).
    Errors: :class:`~ppvae.errors.UserError` for a window, sizes out of range, channels that the heads do not divide, or
    grey values of what is no RGB.
    Source: Chen et al. 2018, "PixelSNAIL: an improved autoregressive generative model", Sec. 2, its attention without
    its convolutions.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        context: int,
        *,
        window: Window = None,
        layers: int = 8,
        channels: int = 32,
        heads: int = 4,
        grey: bool = False,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        for name, value in (("context", context), ("layers", layers), ("channels", channels), ("heads", heads)):
            check_whole(name, value, 1)
        if window is not None:
            raise UserError(f"window={window!r}: attention sees all the past; give null, or a window to causal=gated")
        if channels % heads:
            raise UserError(f"channels={channels}: expected a multiple of the {heads} heads of attention")
        self.features, self.layers, self.grey = channels, layers, grey
        _, rows, columns = self.image_shape
        self.row = nn.Parameter(0.1 * torch.randn(rows, 1, channels))
        self.column = nn.Parameter(0.1 * torch.randn(columns, channels))
        self.from_pixel = nn.Linear(maps_read(self.image_shape[0], grey=grey), channels)
        self.from_context = nn.Linear(context, channels, bias=False)
        self.stack = nn.ModuleList(AttentionLayer(channels, context, heads) for _ in range(1 if tied else layers))

    def forward(self, image: torch.Tensor, context: torch.Tensor, seen: torch.Tensor | None = None) -> torch.Tensor:
        before = pad(_sequence(pixels_read(image, seen, grey=self.grey)), (0, 0, 1, -1))
        context = _sequence(context)
        numbers = self.from_pixel(before) + self._place(context)
        for layer in self._in_order():
            numbers = layer(numbers, context)
        return elu(numbers).transpose(1, 2).unflatten(2, self.image_shape[1:])

    @torch.no_grad()
    def in_raster_order(self, context: torch.Tensor, draw: Callable, image: torch.Tensor, start: int) -> torch.Tensor:
        """The image whose pixels from ``start`` on are ``draw(features, row, column)``, of the features before each.

        Every layer keeps the keys and values of the pixels so far, so that each is computed once.
        Shapes: context (n, maps, H, W), image (n, C, H, W), features (n, ``channels``) → pixel (n, C).
        """
        image, context = image.clone(), _sequence(context)
        places = self._place(context)
        layers = [(layer, _Past(layer, places)) for layer in self._in_order()]
        before = image.new_zeros(len(image), 1, self.from_pixel.in_features)
        for place in range(places.shape[1]):
            row, column = divmod(place, image.shape[-1])
            here = slice(place, place + 1)
            numbers = self.from_pixel(before) + places[:, here]
            for layer, past in layers:
                numbers = layer(numbers, context[:, here], past)
            if place >= start:
                image[:, :, row, column] = draw(elu(numbers[:, 0]), row, column)
            own = image[:, :, row : row + 1, column : column + 1]
            before = _sequence(pixels_read(own, grey=self.grey))
        return image

    def _place(self, context: torch.Tensor) -> torch.Tensor:
        """What every place adds: where it is, and its context; (n, pixels, channels)."""
        return (self.row + self.column).flatten(0, 1) + self.from_context(context)

    def _in_order(self) -> list["AttentionLayer"]:
        """Its layers, first to last; a tied one stands for all."""
        return [self.stack[place % len(self.stack)] for place in range(self.layers)]


class AttentionLayer(nn.Module):
    """One look at the places so far, then a gate: (n, places, channels) and their context → (n, places, channels)."""

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.looking = nn.Linear(channels, 3 * channels, bias=False)  # queries, keys, values
        self.entering = nn.Linear(2 * channels, 2 * channels)
        self.context = nn.Linear(context, 2 * channels, bias=False)
        self.outwards = nn.Linear(channels, channels)

    def forward(self, numbers: torch.Tensor, context: torch.Tensor, past: "_Past | None" = None) -> torch.Tensor:
        normed = self.norm(numbers)
        by_head = self.looking(normed).unflatten(-1, (3, self.heads, -1))
        query, key, value = by_head.permute(2, 0, 3, 1, 4)  # each (n, heads, places, channels / heads)
        if past is not None:
            key, value = past.with_one_more(key, value)
        found = scaled_dot_product_attention(query, key, value, is_causal=past is None)
        both = torch.cat([normed, found.transpose(1, 2).flatten(2)], -1)
        return numbers + self.outwards(gate(self.entering(both) + self.context(context), -1))


class _Past:
    """Keys and values of a layer at the places so far."""

    def __init__(self, layer: AttentionLayer, places: torch.Tensor) -> None:
        count, length, channels = places.shape
        self.keys, self.values = places.new_zeros(2, count, layer.heads, length, channels // layer.heads)
        self.length = 0

    def with_one_more(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        here = self.length
        self.length += 1
        self.keys[:, :, here], self.values[:, :, here] = key[:, :, 0], value[:, :, 0]
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


def _sequence(maps: torch.Tensor) -> torch.Tensor:
    """(n, maps, H, W) in raster order, (n, pixels, maps)."""
    return maps.flatten(2).transpose(1, 2)
