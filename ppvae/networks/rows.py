"""Networks for rows of numbers, 1 × 1 × D, of which some may be missing."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import UserError, check_whole
from ppvae.networks.convolutional import halved
from ppvae.networks.images import check_image_shape, check_widths
from ppvae.networks.mlp import MLPEncoder

__all__ = ["RowConvDecoder", "RowConvEncoder", "RowEncoder"]


class RowEncoder(Described, nn.Module):
    """Features of rows with gaps: an encoder that sees zeros where entries are missing, and which are there.

    ``network``: what makes the encoder of its image shape, (2·C, H, W): the values, then ones where one was observed.
    ``kind``: of ``counts`` it sees log(1 + x), of other values themselves.
    Shapes: rows (..., C, H, W), NaN where missing → features (..., ``features``).
    Source: Nazábal et al. 2020 (HI-VAE) for the zeros; Collier, Nazábal and Williams 2020, "VAEs in the presence of
    missing data", Sec. 3, for the second channel.
    """

    partly_observed = True
    of_images = False  # the network in it sees two channels for one

    def __init__(
        self,
        image_shape: Sequence[int],
        network: Callable[[tuple[int, int, int]], nn.Module] = MLPEncoder,
        *,
        kind: str = "real",
    ) -> None:
        super().__init__()
        channels, rows, columns = check_image_shape(image_shape)
        self.kind = kind
        self.encoder = network((2 * channels, rows, columns))
        self.features = self.encoder.features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        missing = images.isnan()
        values = torch.where(missing, 0.0, images)
        values = values.log1p() if self.kind == "counts" else values
        return self.encoder(torch.cat([values, (~missing).to(values.dtype)], -3))


class RowConvEncoder(Described, nn.Module):
    """Rows to features: 1-d convolutions along the columns, of stride 2, with leaky ReLU, then flattened.

    For columns with an order, such as wavelengths. Shapes: images (..., C, 1, W) → features (..., ``features``).
    Errors: :class:`~ppvae.errors.UserError` for more than one line.
    """

    def __init__(
        self, image_shape: Sequence[int], channels: Sequence[int] = (32, 64), width: int = 5, slope: float = 0.2
    ) -> None:
        super().__init__()
        self.image_shape = _one_line(image_shape)
        channels, padding = check_widths("channels", channels), _padding(width)
        layers: list[nn.Module] = []
        for i, o in pairwise([self.image_shape[0], *channels]):
            layers += [nn.Conv1d(i, o, width, stride=2, padding=padding), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers)
        self.features = channels[-1] * halved(self.image_shape[2], len(channels))[-1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.layers(images.reshape(-1, self.image_shape[0], self.image_shape[2]))
        return found.reshape(*images.shape[:-3], self.features)


class RowConvDecoder(Described, nn.Module):
    """Latents to the parameters of each entry of a row: the encoder reversed, with transposed 1-d convolutions.

    ``maps``: how many numbers an entry gets, by default one; the likelihood's ``decoder_maps`` says how many it needs.
    Shapes: z (..., ``latents``) → (..., ``maps``, 1, W), unbounded. Errors as of :class:`RowConvEncoder`.
    """

    def __init__(
        self,
        latents: int,
        image_shape: Sequence[int],
        channels: Sequence[int] = (64, 32),
        width: int = 5,
        slope: float = 0.2,
        *,
        maps: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        self.latents, self.image_shape = latents, _one_line(image_shape)
        self.maps = self.image_shape[0] if maps is None else maps
        check_whole("maps", self.maps, 1)
        channels, padding = check_widths("channels", channels), _padding(width)
        sizes = halved(self.image_shape[2], len(channels))[::-1]
        self.smallest = (channels[0], sizes[0])
        self.project = nn.Linear(latents, channels[0] * sizes[0])
        layers: list[nn.Module] = []
        for (i, o), (small, large) in zip(pairwise([*channels, self.maps]), pairwise(sizes), strict=True):
            ending = large - (2 * small - 1)
            layers += [nn.LeakyReLU(slope), nn.ConvTranspose1d(i, o, width, 2, padding, output_padding=ending)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        found = self.layers(self.project(z).reshape(-1, *self.smallest))
        return found.reshape(*z.shape[:-1], self.maps, *self.image_shape[1:])


def _one_line(image_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = check_image_shape(image_shape)
    if shape[1] != 1:
        raise UserError(f"image_shape is {tuple(shape)}; convolutions of rows take one line, (channels, 1, columns)")
    return shape


def _padding(width: int) -> int:
    """That keeps an odd kernel's middle on the entry."""
    check_whole("width", width, 1)
    if width % 2 == 0:
        raise UserError(f"width={width}: expected an odd number of columns, such as 5")
    return width // 2
