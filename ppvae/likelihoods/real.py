"""Real numbers without bounds, such as the standardised columns of a table, some of them missing."""

import math
from numbers import Real
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import nn

from ppvae.described import Described
from ppvae.distributions import PartlyObserved
from ppvae.errors import UserError, check_choice, check_not_negative, check_positive
from ppvae.likelihoods.maps import check_maps, split_maps

__all__ = ["Noise", "RealLikelihood"]

Noise = Literal["all", "column", "entry"]
Tails = Literal["normal", "student_t"]


class RealLikelihood(Described, nn.Module):
    """p(x | z) = N(x; decoder(z), σ²), or Student's t about it, independent over entries; NaN is a missing one.

    ``noise``: whose σ it is. ``all``: one is learned; with a linear decoder that is probabilistic PCA. ``column``: one
    is learned for each column; factor analysis. ``entry``: the decoder gives log σ of each entry too. It starts at
    ``scale``, in units of the standardised column, and stays above ``least``, without which the likelihood of a column
    that is explained exactly has no bound. ``tails``: ``normal``, or ``student_t`` of ``degrees`` of freedom, which
    forgives outliers.

    Shapes: z (..., latents) → distribution with batch shape (...) and event shape (C, H, W); the decoder gives
    (..., C, H, W), with ``entry`` (..., 2·C, H, W), means first.
    Errors: :class:`~ppvae.errors.UserError` for unknown words, numbers out of range, or a decoder with another number
    of maps or without an ``image_shape``.
    Sources: Tipping and Bishop 1999 (PPCA); Mattei and Frellsen 2018, "Leveraging the exact likelihood of deep latent
    variable models", Sec. 2 (the bound on σ); Mattei and Frellsen 2019 (MIWAE) for the missing entries.
    """

    kinds = frozenset({"binary", "8-bit", "real"})
    distortion_floor = 0.0  # the scale follows the rows
    partly_observed = True

    def __init__(
        self,
        decoder: nn.Module,
        tails: Tails = "normal",
        *,
        noise: Noise = "column",
        scale: float = 1.0,
        least: float = 1e-3,
        degrees: float = 4.0,
    ) -> None:
        super().__init__()
        check_choice("tails", tails, get_args(Tails))
        check_choice("noise", noise, get_args(Noise))
        check_positive("degrees", degrees)
        check_not_negative("least", least)
        if isinstance(scale, bool) or not isinstance(scale, Real) or not least < scale < math.inf:
            raise UserError(f"scale={scale!r}: expected a finite number above least={least!r}")
        if not hasattr(decoder, "image_shape"):
            raise UserError(f"decoder {type(decoder).__name__} has no image_shape; set it to (channels, rows, columns)")
        check_maps(decoder, lambda channels: self.decoder_maps(channels, noise=noise))
        self.decoder, self.tails, self.noise = decoder, tails, noise
        self.least, self.degrees, self.start = float(least), float(degrees), math.log(scale - least)
        if noise != "entry":
            shape = decoder.image_shape if noise == "column" else ()
            self.log_scale = nn.Parameter(torch.full(shape, self.start))

    @staticmethod
    def decoder_maps(channels: int, noise: Noise = "column", **_settings: object) -> int:
        """Maps that the decoder must give: the mean of each channel, with ``noise="entry"`` its log-scale, too."""
        return 2 * channels if noise == "entry" else channels

    def forward(self, z: torch.Tensor) -> PartlyObserved:
        mean, log_scale = self._of_maps(self.decoder(z))
        scale = (log_scale.exp() + self.least).expand_as(mean)
        if self.tails == "normal":
            return PartlyObserved(dist.Normal(mean, scale), 3)
        return PartlyObserved(dist.StudentT(self.degrees, mean, scale), 3)

    def _of_maps(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.noise != "entry":
            return maps, self.log_scale
        mean, log_scale = split_maps(maps, 2).unbind(-4)
        return mean, log_scale + self.start
