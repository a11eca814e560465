"""The convolutional encoder and decoder of Jouffroy et al. (NGVAE, Sec. IV)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import check_whole
from ppvae.networks.images import check_image_shape, check_widths

__all__ = ["ConvDecoder", "ConvEncoder", "doubling", "halved", "halving"]


def halved(size: int, times: int) -> list[int]:
    """Sizes of a map before and after each 3 × 3 convolution of stride 2 and padding 1."""
    sizes = [size]
    for _ in range(times):
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def halving(channels: Sequence[int], slope: float) -> nn.Sequential:
    """3 × 3 convolutions of stride 2 between so many channels, each followed by a leaky ReLU."""
    return nn.Sequential(
        *(
            layer
            for i, o in pairwise(channels)
            for layer in (nn.Conv2d(i, o, 3, stride=2, padding=1), nn.LeakyReLU(slope))
        )
    )


def doubling(channels: Sequence[int], image_shape: Sequence[int], slope: float) -> nn.Sequential:
    """The reverse, each after a leaky ReLU: transposed convolutions through the sizes that halving the image gives."""
    rows, columns = (halved(size, len(channels) - 1)[::-1] for size in image_shape[1:])
    layers: list[nn.Module] = []
    sizes = zip(pairwise(rows), pairwise(columns), strict=True)
    for (i, o), ((r0, r1), (c0, c1)) in zip(pairwise(channels), sizes, strict=True):
        padding = (r1 - 2 * r0 + 1, c1 - 2 * c0 + 1)
        layers += [nn.LeakyReLU(slope), nn.ConvTranspose2d(i, o, 3, 2, padding=1, output_padding=padding)]
    return nn.Sequential(*layers)


class ConvEncoder(Described, nn.Module):
    """Images to features: 3 × 3 convolutions of stride 2 with leaky ReLU, then flattened.

    Shapes: images (..., C, H, W) → features (..., ``features``). The defaults are the paper's 32, 32, 64, 64
    filters; it leaves the slope open, here 0.2.
    """

    def __init__(
        self, image_shape: Sequence[int], channels: Sequence[int] = (32, 32, 64, 64), slope: float = 0.2
    ) -> None:
        super().__init__()
        self.image_shape = check_image_shape(image_shape)
        channels = check_widths("channels", channels)
        rows, columns = (halved(size, len(channels))[-1] for size in self.image_shape[1:])
        self.features = channels[-1] * rows * columns
        self.layers = halving([self.image_shape[0], *channels], slope)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layers(images.reshape(-1, *self.image_shape))
        return maps.reshape(*images.shape[:-3], self.features)


class ConvDecoder(Described, nn.Module):
    """Latents to the parameters of each pixel: the encoder reversed, with transposed convolutions.

    ``maps``: how many numbers a pixel gets, by default one a channel; the likelihood's ``decoder_maps`` says how many
    it needs.
    Shapes: z (..., ``latents``) → (..., ``maps``, H, W), unbounded; the likelihood chooses the link function.
    """

    def __init__(
        self,
        latents: int,
        image_shape: Sequence[int],
        channels: Sequence[int] = (64, 64, 32, 32),
        slope: float = 0.2,
        *,
        maps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        self.latents = latents
        self.image_shape = check_image_shape(image_shape)
        self.maps = self.image_shape[0] if maps is None else maps
        check_whole("maps", self.maps, 1)
        channels = check_widths("channels", channels)
        rows, columns = (halved(size, len(channels))[-1] for size in self.image_shape[1:])
        self.smallest = (channels[0], rows, columns)
        self.project = nn.Linear(latents, channels[0] * rows * columns)
        self.layers = doubling([*channels, self.maps], self.image_shape, slope)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        maps = self.layers(self.project(z).reshape(-1, *self.smallest))
        return maps.reshape(*z.shape[:-1], *maps.shape[-3:])
