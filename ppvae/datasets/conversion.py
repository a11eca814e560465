"""How stored pixels become the images that a likelihood takes."""

from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor

from ppvae.errors import UserError, check_choice

__all__ = ["Binarise", "Conversion", "Dequantise", "Kind"]

Kind = Literal["binary", "8-bit", "real", "counts"]
"""What pixels are: zeros and ones, one of 256 grey levels k/255, real numbers (of images in [0, 1)), or counts."""

Binarise = Literal["none", "static", "dynamic"]
Dequantise = Literal["none", "uniform"]

_NOISE_LEVELS = 2**16


@dataclass(frozen=True)
class Conversion:
    """Stored pixels k in 0..255 to images x in [0, 1], on their device; a tensor of floats stays as it is.

    Neither: x = k/255. ``binarise="static"``: x = 1 where k/255 > threshold, else 0; ``"dynamic"``: x ~
    Bernoulli(k/255), drawn anew at every call. ``dequantise="uniform"``: x = (k + u)/256 with u ~ U[0, 1) in steps of
    2^-16, so that every k + u is exact in float32 and floor(256 x) = k: log p(k) >= E_u log p(x) - D log 256 for D
    pixels.
    Shapes: uint8 (..., C, H, W) → floats of the same shape.
    Errors: :class:`~ppvae.errors.UserError` for unknown choices, both at once, or a threshold outside [0, 1).
    Source: Salakhutdinov, Murray, "On the quantitative analysis of deep belief networks", 2008 (dynamic);
    Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016 (uniform).
    """

    binarise: Binarise = "none"
    dequantise: Dequantise = "none"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_choice("binarise", self.binarise, get_args(Binarise))
        check_choice("dequantise", self.dequantise, get_args(Dequantise))
        if "none" not in (self.binarise, self.dequantise):
            raise UserError(
                f"binarise={self.binarise!r} with dequantise={self.dequantise!r}: zeros and ones have no grey levels"
                " to fill; leave one of them at 'none'"
            )
        if not isinstance(self.threshold, Real) or not 0 <= self.threshold < 1:
            raise UserError(f"threshold={self.threshold!r}: expected a number in [0, 1), such as 0.5")

    @property
    def random(self) -> bool:
        """Whether the same pixels give other images at every call."""
        return self.binarise == "dynamic" or self.dequantise == "uniform"

    def kind(self, stored: Kind) -> Kind:
        """What images are after the conversion of pixels of kind ``stored``."""
        if self.binarise != "none":
            return "binary"
        return "real" if self.dequantise == "uniform" else stored

    def describe(self, stored: Kind) -> str:
        """The phrase to name beside a result on such images."""
        if self.binarise == "dynamic":
            return "binarised dynamically"
        if self.binarise == "static":
            return f"binarised at {self.threshold:g}"
        return "dequantised uniformly" if self.dequantise == "uniform" else stored

    def __call__(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Images of ``pixels``; ``noise`` ~ U[0, 1) of their shape, by default from their device's random state."""
        if pixels.is_floating_point():
            return pixels
        dtype = torch.get_default_dtype()
        if self.random and noise is None:
            noise = torch.rand(pixels.shape, device=pixels.device)
        if self.dequantise == "uniform":
            return (pixels + (noise * _NOISE_LEVELS).floor() / _NOISE_LEVELS).to(dtype) / 256
        grey = pixels.to(dtype) / 255
        if self.binarise == "none":
            return grey
        return (grey > (self.threshold if self.binarise == "static" else noise)).to(dtype)
