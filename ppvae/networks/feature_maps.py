"""An encoder and a decoder of a code of feature maps, which stands between an image and a vector."""

from collections.abc import Sequence

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_whole
from ppvae.networks.convolutional import doubling, halved, halving
from ppvae.networks.images import check_image_shape, check_widths

__all__ = ["MapDecoder", "MapEncoder"]


class MapEncoder(Described, nn.Module):
    """Images to feature maps, and these to features: 3 × 3 convolutions of stride 2 with leaky ReLU all the way.

    ``channels``: of the convolutions up to the maps, each of which halves rows and columns; ``top``: of those from
    there to the features. ``levels(images)`` gives both, h_1 and what is made of it; called, it gives the features
    alone, as any encoder. ``map_shape``: that of h_1.

    Shapes: images (..., C, H, W) → maps (..., *``map_shape``), features (..., ``features``).
    Source: Gulrajani et al. 2017 (PixelVAE), Sec. 3.2.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        channels: Sequence[int] = (32, 32),
        top: Sequence[int] = (64, 64),
        slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        channels, top = check_widths("channels", channels), check_widths("top", top)
        self.map_shape = (channels[-1], *(halved(size, len(channels))[-1] for size in self.image_shape[1:]))
        rows, columns = (halved(size, len(top))[-1] for size in self.map_shape[1:])
        self.features = top[-1] * rows * columns
        self.upwards = halving([self.image_shape[0], *channels], slope)
        self.to_the_top = halving([channels[-1], *top], slope)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.levels(images)[1]

    def levels(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The maps, and the features that are made of them."""
        lead = images.shape[:-3]
        maps = self.upwards(images.reshape(-1, *self.image_shape))
        return maps.reshape(*lead, *self.map_shape), self.to_the_top(maps).reshape(*lead, self.features)


class MapDecoder(Described, nn.Module):
    """Feature maps to the parameters of each pixel: a 3 × 3 convolution, then transposed ones of stride 2.

    ``latent_maps``: how many maps it takes, each as large as an image halved once for each of ``channels``: their
    shape is ``map_shape``. ``maps``: how many numbers a pixel gets, by default one a channel; the likelihood's
    ``decoder_maps`` says how many it needs.
    Shapes: z (..., *``map_shape``) → (..., ``maps``, H, W), unbounded; the likelihood chooses the link function.
    """

    def __init__(
        self,
        latent_maps: int,
        image_shape: Sequence[int],
        channels: Sequence[int] = (32, 32),
        slope: float = 0.2,
        *,
        maps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("latent_maps", latent_maps, 1)
        self.image_shape = check_image_shape(image_shape)
        self.maps = self.image_shape[0] if maps is None else maps
        check_whole("maps", self.maps, 1)
        channels = check_widths("channels", channels)
        self.map_shape = (latent_maps, *(halved(size, len(channels))[-1] for size in self.image_shape[1:]))
        self.enter = nn.Conv2d(latent_maps, channels[0], 3, padding=1)
        self.layers = doubling([*channels, self.maps], self.image_shape, slope)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        maps = self.layers(self.enter(z.reshape(-1, *self.map_shape)))
        return maps.reshape(*z.shape[:-3], *maps.shape[-3:])
