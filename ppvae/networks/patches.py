"""Networks of shuffled patches, whose order says nothing."""

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import UserError, check_whole
from ppvae.networks.images import check_image_shape, check_widths

__all__ = ["PatchDecoder", "PatchEncoder"]


def _tiles(image_shape: tuple[int, int, int], patch: int) -> tuple[int, int]:
    """How many tiles down and across; UserError where they do not fill the image."""
    check_whole("patch", patch, 1)
    _, rows, columns = image_shape
    if rows % patch or columns % patch:
        raise UserError(f"patch={patch}: tiles do not fill images of {rows} × {columns}; give a divisor of both")
    return rows // patch, columns // patch


class PatchEncoder(Described, nn.Module):
    """A bag of patches: each tile of ``patch`` × ``patch`` pixels through the same layers, then their mean over the
    tiles.

    The features are the same for every order of the tiles, so nothing is spent on an order that a shuffled view has
    lost; of single pixels they are a learned histogram of colours.
    Shapes: images (..., C, H, W) → features (..., ``features``).
    Errors: :class:`~ppvae.errors.UserError` for tiles that do not fill the image.
    """

    def __init__(self, image_shape: Sequence[int], patch: int = 1, hidden: Sequence[int] = (32, 64)) -> None:
        super().__init__()
        self.image_shape, hidden = check_image_shape(image_shape), check_widths("hidden", hidden)
        _tiles(self.image_shape, patch)
        self.features = hidden[-1]
        layers = [nn.Conv2d(self.image_shape[0], hidden[0], patch, stride=patch), nn.ReLU()]
        for before, after in itertools.pairwise(hidden):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layers(images.reshape(-1, *self.image_shape))
        return maps.mean((-2, -1)).reshape(*images.shape[:-3], self.features)


class PatchDecoder(Described, nn.Module):
    """One tile from the latents, repeated over the image: of shuffled patches no factorised likelihood says more.

    Shapes: z (..., ``latents``) → (..., ``maps``, H, W), unbounded; the same for each tile of ``patch`` × ``patch``
    pixels.
    Errors: :class:`~ppvae.errors.UserError` for tiles that do not fill the image.
    """

    def __init__(
        self,
        latents: int,
        image_shape: Sequence[int],
        patch: int = 1,
        hidden: Sequence[int] = (64,),
        *,
        maps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        self.latents, self.image_shape = latents, check_image_shape(image_shape)
        self.maps = self.image_shape[0] if maps is None else maps
        check_whole("maps", self.maps, 1)
        self.patch, self.tiles = patch, _tiles(self.image_shape, patch)
        layers: list[nn.Module] = []
        widths = (latents, *check_widths("hidden", hidden))
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], self.maps * patch * patch))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        down, across = self.tiles
        tile = self.layers(z).reshape(*z.shape[:-1], self.maps, 1, self.patch, 1, self.patch)
        tiled = tile.expand(*tile.shape[:-4], down, self.patch, across, self.patch)
        return tiled.reshape(*z.shape[:-1], self.maps, *self.image_shape[1:])
