"""An inverse autoregressive flow over feature maps that moves locations alone."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.distributions import Transform, constraints

from ppvae.described import Described
from ppvae.errors import check_whole
from ppvae.networks.causal import GatedPixels
from ppvae.networks.images import check_image_shape

__all__ = ["RasterFlow"]

WINDOW = (2, 5)  # rows above and columns of the past that a step sees, where the map has them


class RasterFlow(Described, nn.Module):
    """z ← z + m(z before it; h), ``pairs`` times in raster order and in mirrored raster order; |det| = 1.

    Each m sees two rows above a place and two places to its left, all maps of them, and the context h everywhere: one
    gated causal layer, a head that starts at zero. All places move at once; back, one after another, by repeated passes
    until none changes, at most as many as there are places.

    Shapes: z (..., *``map_shape``), context (..., ``context``, rows, columns).
    Errors: :class:`~ppvae.errors.UserError` for sizes out of range.
    Sources: Kingma et al. 2016, Sec. 4, with σ = 1; Vahdat and Kautz 2020 (NVAE), App. A, for the pairs.
    """

    of_images = False  # what its networks see are maps

    def __init__(self, map_shape: Sequence[int], context: int, pairs: int = 1, channels: int = 16) -> None:
        super().__init__()
        maps, rows, columns = self.map_shape = check_image_shape(map_shape, "map_shape")
        for name, value in (("context", context), ("pairs", pairs), ("channels", channels)):
            check_whole(name, value, 1)
        height, width = min(WINDOW[0], rows), min(WINDOW[1], columns - 1 + columns % 2)
        options = {"window": (height, width), "layers": 1, "channels": channels}
        self.networks = nn.ModuleList(GatedPixels(self.map_shape, context, **options) for _ in range(2 * pairs))
        self.heads = nn.ModuleList(nn.Conv2d(channels, maps, 1) for _ in range(2 * pairs))
        for head in self.heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def transforms(self, context: torch.Tensor) -> list[Transform]:
        """The steps given the context; each remembers its last draw, which is therefore scored without going back."""
        steps = zip(self.networks, self.heads, strict=True)
        return [_Shift(self._moved(*step, context, mirrored=bool(k % 2))) for k, step in enumerate(steps)]

    def _moved(self, network: nn.Module, head: nn.Module, context: torch.Tensor, *, mirrored: bool) -> Callable:
        def shift(z: torch.Tensor) -> torch.Tensor:
            lead = torch.broadcast_shapes(z.shape[:-3], context.shape[:-3])
            both = (one.expand(*lead, *one.shape[-3:]).flatten(0, -4) for one in (z, context))
            values, given = (one.flip((-2, -1)) if mirrored else one for one in both)
            found = head(network(values, given))
            return (found.flip((-2, -1)) if mirrored else found).reshape(*lead, *self.map_shape)

        return shift


class _Shift(Transform):
    """z + ``shift``(z), where the shift of a place is of those before it in some order."""

    domain = codomain = constraints.independent(constraints.real, 3)
    bijective = True

    def __init__(self, shift: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__(cache_size=1)
        self.shift = shift

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shift(x)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        x = y
        for _ in range(y.shape[-2] * y.shape[-1]):  # each pass is right one place further
            before, x = x, y - self.shift(x)
            if torch.equal(before, x):
                break
        return x

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        del y
        return x.new_zeros(x.shape[:-3])
