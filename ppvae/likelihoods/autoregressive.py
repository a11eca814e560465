"""Pixels that depend on the pixels before them."""

from numbers import Real
from typing import Any

from torch import Tensor, nn

from ppvae.described import Described
from ppvae.distributions import AutoregressiveImage, pixel_output
from ppvae.errors import UserError, check_choice, check_whole
from ppvae.likelihoods.maps import check_maps
from ppvae.networks.causal import CAUSAL_NETWORKS
from ppvae.networks.causal.windows import Window

__all__ = ["AutoregressiveLikelihood"]


class AutoregressiveLikelihood(Described, nn.Module):
    """p(x | z) = Π_i p(x_i | x_<i, z): a causal network over the image, told by ``decoder(z)`` what z says everywhere.

    PixelVAE with the full past (``window`` None), VLAE with a window (height, width) so small that what is global has
    to come through z; (0, 1) is a likelihood that is independent over pixels. A network that sees enough explains the
    images without z, and the rate falls to zero: free bits, annealing, a window or ``dropout``, the share of pixels
    hidden from their followers in training, are the cures.

    ``output``: bernoulli, categorical (256 levels), logistic_mixture (of ``components``) or normal. ``causal``: gated
    stacks of ``layers`` with ``channels`` features, or attention. ``context``: maps that the decoder gives. ``grey``:
    of the past only grey values are seen, so that colour has to come through z; ``tied``: layers share weights.

    Shapes: z (..., latents) → :class:`~ppvae.distributions.AutoregressiveImage` with batch shape (...) and event shape
    (C, H, W); the decoder gives (..., ``context``, H, W).
    Errors: :class:`~ppvae.errors.UserError` for a decoder with another number of maps or without an ``image_shape``,
    unknown words, or numbers out of range.
    Sources: Gulrajani et al. 2017 (PixelVAE), Sec. 3.1; Chen et al. 2017 (VLAE), Sec. 3.1.
    """

    distortion_floor = 0.0
    otherwise = "give another output, logistic_mixture or categorical for 8-bit images, normal for any"

    def __init__(
        self,
        decoder: nn.Module,
        output: str = "bernoulli",
        *,
        causal: str = "gated",
        window: Window = None,
        layers: int = 8,
        channels: int = 32,
        context: int = 32,
        components: int = 10,
        grey: bool = False,
        tied: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not hasattr(decoder, "image_shape"):
            raise UserError(f"decoder {type(decoder).__name__} has no image_shape; set it to (channels, rows, columns)")
        if isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0 <= dropout < 1:
            raise UserError(f"dropout={dropout!r}: expected a share of pixels from 0 to below 1")
        check_choice("causal", causal, CAUSAL_NETWORKS)
        check_maps(decoder, lambda channels: self.decoder_maps(channels, context=context))
        self.decoder = decoder
        self.dropout = float(dropout)
        options = {"window": window, "layers": layers, "channels": channels, "grey": grey, "tied": tied}
        self.network = CAUSAL_NETWORKS[causal](decoder.image_shape, context, **options)
        self.pixels = pixel_output(output, self.network.features, decoder.image_shape[0], components)

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of images that it is a density of, those of its output."""
        return self.pixels.kinds

    @staticmethod
    def decoder_maps(_image_channels: int, /, context: int = 32, **_settings: Any) -> int:
        """Maps that the decoder must give: the context of each pixel."""
        check_whole("context", context, 1)
        return context

    def forward(self, z: Tensor) -> AutoregressiveImage:
        dropout = self.dropout if self.training else 0.0
        return AutoregressiveImage(self.network, self.pixels, self.decoder(z), dropout=dropout)
